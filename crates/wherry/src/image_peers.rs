//! The image registries of the other masters: at their APIs' addresses, as masters come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use wherry_base::Drain;
use wherry_client::Https;
use wherry_registry::{Peer, Peers};
use wherry_store::{Member, Role};

/// Those of the members that vote, but of `me`, until the drain; called with a master's client certificate.
pub fn follow(
    mut members: watch::Receiver<Vec<(Member, Role)>>,
    me: u64,
    tls: Arc<rustls::ClientConfig>,
    drain: &Drain,
) -> watch::Receiver<Peers> {
    let mut ways = Ways { tls, known: BTreeMap::new() };
    let (peers, followed) = watch::channel(ways.to(&members.borrow_and_update(), me));
    drain.vital().spawn(async move {
        while members.changed().await.is_ok() {
            peers.send_replace(ways.to(&members.borrow_and_update(), me));
        }
    });
    followed
}

/// Connections to other masters, by address.
struct Ways {
    tls: Arc<rustls::ClientConfig>,
    known: BTreeMap<String, Arc<Https>>,
}

impl Ways {
    fn to(&mut self, members: &[(Member, Role)], me: u64) -> Peers {
        let others = members.iter().filter(|(member, role)| member.id != me && *role == Role::Voter);
        let servers: Vec<String> = others.map(|(member, _)| format!("https://{}", member.address)).collect();
        self.known.retain(|server, _| servers.contains(server));
        for server in servers {
            match Https::with_tls(&[&server], (*self.tls).clone()) {
                Ok(https) => drop(self.known.entry(server).or_insert_with(|| Arc::new(https))),
                Err(error) => tracing::warn!(%error, "a master's image registry cannot be reached"),
            }
        }
        self.known.values().map(|https| Arc::clone(https) as Arc<dyn Peer>).collect()
    }
}
