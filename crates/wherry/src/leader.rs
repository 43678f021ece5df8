//! What only the master that leads does: the cluster's first objects, the addresses of the masters, the controllers and the
//! binder. Begun with each term, and ended with it.

use std::sync::Arc;
use std::time::Duration;

use wherry_apiserver::{Identity, Registry};
use wherry_base::{Backoff, Clock, Drain, Trigger};
use wherry_controllers::ControllersConfig;
use wherry_store::{Leadership, Store};

/// The first and the longest wait after objects could not be written.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long the controllers may take to end.
const STOP_MOST: Duration = Duration::from_secs(5);

/// What it takes to lead.
#[derive(Clone)]
pub struct Leader {
    /// Says who leads.
    pub store: Store,
    /// Carries out what is decided.
    pub registry: Registry,
    /// Of the controllers.
    pub config: ControllersConfig,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
}

impl Leader {
    /// Leads whenever this master does, until the drain.
    pub async fn run(self, drain: Drain) {
        let mut leadership = self.store.leadership();
        let leads = |now: &Leadership| *now == Leadership::Leader;
        // A master that is alone and in trouble with its disk has nobody who could go on in its place.
        let has_lost = |now: &Leadership| !leads(now) && !self.store.is_alone();
        loop {
            tokio::select! {
                () = drain.ended() => return,
                began = leadership.wait_for(leads) => if began.is_err() { return },
            }
            let term = Trigger::new();
            term.drain().vital().spawn(self.clone().lead(term.drain()));
            tokio::select! {
                () = drain.ended() => {}
                _ = leadership.wait_for(has_lost) => tracing::info!("another master leads from now on"),
            }
            if !term.stop(STOP_MOST).await {
                tracing::warn!("some controllers did not end in time");
            }
        }
    }

    async fn lead(self, term: Drain) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        while let Err(error) = self.registry.bootstrap().await {
            tracing::warn!(%error, "the cluster's first objects cannot be made yet");
            tokio::time::sleep(backoff.fail()).await;
        }
        let client = self.registry.leader_client(Identity::component("kube-controller-manager"));
        wherry_controllers::start(client, self.config.clone(), Arc::clone(&self.clock), &term);
        self.keep_addresses().await;
    }

    /// Keeps the endpoints of the API those of the masters.
    async fn keep_addresses(&self) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut members = self.store.members();
        while members.changed().await.is_ok() {
            while let Err(error) = self.registry.publish_masters().await {
                tracing::warn!(%error, "the masters' addresses cannot be written yet");
                tokio::time::sleep(backoff.fail()).await;
            }
            backoff.reset();
        }
    }
}
