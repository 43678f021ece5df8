//! The master's role: store, API, controllers, image registry.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use wherry_apiserver::{Identity, MasterLines, MasterTransport, Readiness, Registry, RegistryConfig, ServeConfig};
use wherry_base::{Clock, Drain, Trigger};
use wherry_client::Client;
use wherry_controllers::ControllersConfig;
use wherry_registry::ImageStore;
use wherry_store::{Limits, Member, Role, Seat, Start, Store};

use crate::cluster_info::ClusterInfo;
use crate::config::ClusterFlags;
use crate::credentials::{Credentials, with_offers};
use crate::data_dir::DataDir;
use crate::image_peers;
use crate::join_masters::Shared;
use crate::leader::Leader;
use crate::membership;
use crate::serve_tls::{for_those_who_may, serve_tls};

const STOP_MOST: Duration = Duration::from_secs(10);
/// How long another master may take to lead in this one's place before this one ends all the same.
const HAND_OVER_MOST: Duration = Duration::from_secs(3);

/// A running master.
pub struct Master {
    store: Store,
    registry: Registry,
    /// What `/readyz` says.
    pub readiness: Readiness,
    removed: watch::Receiver<bool>,
    tasks: Trigger,
}

/// What a master is started from.
pub struct Parts<'a> {
    /// The master's name among the masters.
    pub name: &'a str,
    /// Whether it founds a cluster, where its data directory is new.
    pub start: Start,
    /// What the flags say of the cluster.
    pub flags: &'a ClusterFlags,
    /// What the cluster agrees on.
    pub info: ClusterInfo,
    /// Where the store and the images are.
    pub data: &'a DataDir,
    /// Certificates.
    pub credentials: &'a Arc<Credentials>,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// Where kubeconfigs point.
    pub advertise: SocketAddr,
    /// The bound port of the API.
    pub api: TcpListener,
    /// The bound port of the image registry.
    pub images: TcpListener,
}

impl Master {
    /// Opens the store and starts to serve.
    pub async fn start(parts: Parts<'_>) -> anyhow::Result<Self> {
        let Parts { name, start, flags, info, data, credentials, clock, advertise, api, images } = parts;
        let (name, peer_tls) = (name.to_owned(), credentials.peer_client()?);
        let transport = Arc::new(MasterTransport::new(&peer_tls));
        let seat = Seat { name, address: advertise.to_string(), transport, start, runtime: None };
        let store = Store::open_member(&data.join("store"), Limits::default(), seat)?;
        let url = format!("https://{advertise}");
        let config = RegistryConfig {
            service_cidr: info.service_cidr,
            cluster_cidr: info.cluster_cidr,
            node_prefix: flags.node_cidr_mask_size,
            advertise,
            cluster_info: info
                .data(credentials.kubeconfig_without_user(&url), flags.failure.node_monitor_grace_period)?,
            tolerations: flags.failure.tolerations(),
            masters: Some(Arc::new(MasterLines::new(&peer_tls))),
        };
        let registry = Registry::new(store.clone(), config, clock.clone());
        if store.is_alone() {
            // Before anybody asks for them; the leader of several masters makes them when it begins to lead.
            registry.bootstrap().await.context("the cluster's first objects cannot be made")?;
        }
        let (tasks, readiness) = (Trigger::new(), Readiness::default());
        let drain = tasks.drain();
        let image_client = registry.client(Identity::component("image-registry"));
        let others = image_peers::follow(store.members(), store.me().id, credentials.peer_client()?, &drain);
        let image_store = ImageStore::open(&data.join("images"), &image_client, others);
        let image_store = image_store.context("the image registry cannot be opened")?;
        image_store.take_over().await.context("the names of images cannot be taken over")?;
        let image_router = for_those_who_may(wherry_registry::router(image_store.clone()));
        drain.vital().spawn(image_store.follow(drain.clone()));
        let serve = ServeConfig {
            tls: with_offers(credentials.api_tls()?),
            kubelet_tls: credentials.kubelet_client()?,
            advertise_url: url,
            readiness: readiness.clone(),
            images: image_router.clone(),
            master_keys: Shared::new(&credentials.authority, info).encode()?,
        };
        drain.vital().spawn_graceful(wherry_apiserver::serve(api, registry.clone(), serve, drain.clone()));
        let (tls, revocations) = (credentials.registry_tls()?, registry.clone());
        drain.vital().spawn_graceful(serve_tls(images, tls, image_router, revocations, drain.clone()));
        let config = ControllersConfig {
            authority: Arc::clone(&credentials.authority),
            certificate_life: flags.cluster_signing_duration,
            ingress_address: advertise.ip(),
            nodes: flags.failure.monitor(),
        };
        let (is_removed, removed) = watch::channel(false);
        let kept = membership::keep(store.clone(), Arc::clone(credentials));
        drain.vital().spawn(async move {
            kept.await;
            is_removed.send_replace(true);
            std::future::pending().await
        });
        let leader = Leader { store: store.clone(), registry: registry.clone(), config, clock };
        drain.vital().spawn_graceful(leader.run(drain.clone()));
        Ok(Self { store, registry, readiness, removed, tasks })
    }

    /// This master among the masters.
    pub fn member(&self) -> Member {
        self.store.me()
    }

    /// All masters, as they come and go.
    pub fn members(&self) -> watch::Receiver<Vec<(Member, Role)>> {
        self.store.members()
    }

    /// Resolves when the others say that this master is none of them any more: why it has to end.
    pub async fn removed(&self) -> anyhow::Error {
        if self.removed.clone().wait_for(|is_removed| *is_removed).await.is_err() {
            std::future::pending().await
        }
        anyhow::anyhow!(
            "this master was removed from its cluster; its data directory is of no use any more: remove it, and join anew with an empty one"
        )
    }

    /// Under which the master's tasks run.
    pub fn drain(&self) -> Drain {
        self.tasks.drain()
    }

    /// An in-process client.
    pub fn client(&self, identity: Identity) -> Client {
        self.registry.client(identity)
    }

    /// Lets another master lead, ends the controllers, then finishes requests; the store closes with the last handle.
    pub async fn stop(self) {
        self.readiness.set(false);
        if !matches!(timeout(HAND_OVER_MOST, self.store.hand_over_leadership()).await, Ok(Ok(()))) {
            tracing::warn!("no other master has taken over; they elect one when this one has ended");
        }
        if !self.tasks.stop(STOP_MOST).await {
            tracing::warn!("some of the master's tasks did not end in time");
        }
    }
}
