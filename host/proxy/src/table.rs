//! Which Services there are and which endpoints serve them: an immutable snapshot that is swapped as a whole.
//!
//! Readers (the dialer, the ingress, the node ports) take no lock. One task keeps the table fresh from informers and
//! recomputes only the Services that changed. Reverse names and SRV records are deliberately lacking.

mod backends;
mod entry;
mod facts;
mod keep;
mod names;
mod surroundings;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::HashMap;
use tokio::sync::watch;
use wherry_api::ObjectKey;
use wherry_vnet::{DialError, Protocol, Resolution, Services, Translation};

pub(crate) use backends::{Backends, Endpoint, Permit};
pub(crate) use entry::{Entry, PortEntry, PortRef};
pub(crate) use facts::{ServiceFacts, SliceFacts, ZoneFacts};
pub(crate) use keep::{Sources, keep};

/// The endpoint table of a node.
#[derive(Debug)]
pub struct Table {
    current: ArcSwap<Snapshot>,
    version: watch::Sender<u64>,
}

/// The table at one moment, cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    services: HashMap<ObjectKey, Arc<Entry>>,
    by_address: HashMap<IpAddr, ObjectKey>,
}

impl Table {
    /// A table without Services: hand it to the network, then to the proxy, which fills it.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::default(), version: watch::Sender::new(0) })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.current.load())
    }

    pub(crate) fn store(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.version.send_modify(|version| *version += 1);
    }

    /// Tells of every swap.
    pub(crate) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Who serves this port of this Service; `None` where there is no such Service or port.
    pub(crate) fn backends(&self, service: &ObjectKey, port: &PortRef) -> Option<Arc<Backends>> {
        let current = self.current.load();
        let found = current.services.get(service)?.ports.iter().find(|own| port.means(own))?;
        Some(Arc::clone(&found.backends))
    }
}

impl Snapshot {
    pub(crate) fn get(&self, service: &ObjectKey) -> Option<&Arc<Entry>> {
        self.services.get(service)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Entry>)> {
        self.services.iter()
    }

    /// Replaces what is known of one Service.
    pub(crate) fn set(&mut self, service: &ObjectKey, entry: Option<Entry>) {
        let old = self.services.get(service).map(|old| old.addresses.clone()).unwrap_or_default();
        for address in old {
            if self.by_address.get(&address) == Some(service) {
                self.by_address.remove(&address);
            }
        }
        let Some(entry) = entry else {
            self.services.remove(service);
            return;
        };
        for address in &entry.addresses {
            self.by_address.insert(*address, service.clone());
        }
        self.services.insert(service.clone(), Arc::new(entry));
    }

    fn translate(&self, protocol: Protocol, from: IpAddr, to: SocketAddr) -> Translation {
        if !self.by_address.contains_key(&to.ip()) {
            return Translation::Direct;
        }
        let chosen = self.port(protocol, to).and_then(|port| port.internal.choose(from));
        chosen.map_or(Translation::Refused, |endpoint| Translation::Endpoint(endpoint.address))
    }

    /// The port of a Service that has this address.
    fn port(&self, protocol: Protocol, at: SocketAddr) -> Option<&PortEntry> {
        let service = self.by_address.get(&at.ip()).and_then(|key| self.services.get(key))?;
        service.ports.iter().find(|port| port.protocol == protocol && port.number == at.port())
    }

    fn endpoint(&self, protocol: Protocol, to: SocketAddr, endpoint: SocketAddr) -> Option<&Arc<Endpoint>> {
        self.port(protocol, to)?.internal.known(endpoint)
    }
}

impl Services for Table {
    fn translate(&self, protocol: Protocol, from: IpAddr, to: SocketAddr) -> Translation {
        self.current.load().translate(protocol, from, to)
    }

    fn failed(&self, to: SocketAddr, endpoint: SocketAddr, why: &DialError) {
        if let Some(endpoint) = self.current.load().endpoint(Protocol::Tcp, to, endpoint) {
            endpoint.failed(why);
        }
    }

    fn serves(&self, to: SocketAddr, endpoint: SocketAddr) -> bool {
        self.current.load().endpoint(Protocol::Udp, to, endpoint).is_some()
    }

    fn resolve(&self, namespace: &str, name: &str) -> Resolution {
        names::resolve(&self.current.load(), namespace, name)
    }
}

#[cfg(test)]
pub(crate) mod tests;
