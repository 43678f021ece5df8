//! Datagrams that containers send out of their pod: a UDP socket of the pod network for each of their ports, for as long as
//! it is used.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use wherry_vnet::{Datagram, UdpSocket};

use crate::podnet::PodNet;

/// How many ports of a pod's containers send at once.
const PORTS_MAX: usize = 1024;

/// How long a port is remembered that nothing is sent from: as long as Linux remembers one that answers come to.
const IDLE_MOST: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(crate) struct Nat(Mutex<HashMap<u16, Arc<Port>>>);

/// A port of a container.
struct Port {
    socket: Mutex<UdpSocket>,
    used: Mutex<Instant>,
}

impl Nat {
    /// Sends a datagram from a container's port. `Ok(false)`: too many ports send.
    pub(crate) fn send(&self, net: &Arc<PodNet>, port: u16, to: SocketAddr, payload: Bytes) -> io::Result<bool> {
        let Some(port) = self.port(net, port) else { return Ok(false) };
        *locked(&port.used) = Instant::now();
        let sent = locked(&port.socket).send_to(payload, to);
        sent.map(|()| true)
    }

    /// The address that an answer from `from` has for the container that has asked.
    pub(crate) fn known_as(&self, from: SocketAddr, port: u16) -> SocketAddr {
        let port = locked(&self.0).get(&port).map(Arc::clone);
        port.map_or(from, |port| locked(&port.socket).known_as(from))
    }

    fn port(&self, net: &Arc<PodNet>, number: u16) -> Option<Arc<Port>> {
        let mut ports = locked(&self.0);
        let count = ports.len();
        match ports.entry(number) {
            Entry::Occupied(there) => Some(Arc::clone(there.get())),
            Entry::Vacant(_) if count >= PORTS_MAX => None,
            Entry::Vacant(vacant) => {
                let socket = net.udp_of(number)?;
                let port = Arc::new(Port { socket: Mutex::new(socket), used: Mutex::new(Instant::now()) });
                vacant.insert(Arc::clone(&port));
                net.spawn(serve(Arc::clone(net), number, Arc::clone(&port)));
                Some(port)
            }
        }
    }

    fn forget(&self, number: u16) {
        locked(&self.0).remove(&number);
    }
}

/// Passes on what comes from outside the cluster, until the port is idle.
async fn serve(net: Arc<PodNet>, number: u16, port: Arc<Port>) {
    let to = net.at(number);
    loop {
        let idle_at = *locked(&port.used) + IDLE_MOST;
        let receivable = std::future::poll_fn(|context| locked(&port.socket).poll_receivable(context));
        if timeout_at(idle_at, receivable).await.is_err() {
            if locked(&port.used).elapsed() < IDLE_MOST {
                continue;
            }
            return net.nat().forget(number);
        }
        let datagram = locked(&port.socket).try_receive();
        if let Some(Datagram { from: SocketAddr::V4(from), payload }) = datagram {
            *locked(&port.used) = Instant::now();
            net.inject(from, to, &payload);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
