//! The connections between containers and all others: which there are, and whose a packet is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::packet::Key;

/// How many connections a pod's containers have at once, by the device.
pub(crate) const FLOWS_MAX: usize = 2048;

/// How many of those that containers open wait for their other end.
const DIALING_MAX: usize = 256;

/// How many packets of a connection wait for it; a sender that is heeded has fewer.
const PACKETS_MAX: usize = 256;

/// How many bytes of all packets wait; then no more are read.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many ports are tried where a client's own is in use towards that container.
const PORTS_TRIED_MAX: usize = 64;

/// A packet, and its part of what may wait.
pub(crate) struct Packet {
    pub(crate) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

pub(crate) struct Flows {
    table: Mutex<HashMap<Key, mpsc::Sender<Packet>>>,
    dialing: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// A connection's place in the table, which is free when this is dropped, and the packets that come for it.
pub(crate) struct Place {
    pub(crate) packets: mpsc::Receiver<Packet>,
    pub(crate) key: Key,
    flows: Arc<Flows>,
}

/// What became of a packet.
pub(crate) enum Handed {
    Taken,
    /// There is no such connection.
    Stray(Packet),
    /// Its connection has no room for it.
    Full,
}

impl Flows {
    pub(crate) fn new() -> Arc<Self> {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        Arc::new(Self { table: Mutex::default(), dialing: semaphore(DIALING_MAX), room: semaphore(WAITING_BYTES_MAX) })
    }

    /// Waits until there is room for a packet.
    pub(crate) async fn admit(&self, bytes: Bytes) -> Option<Packet> {
        let length = u32::try_from(bytes.len()).ok()?;
        let room = Arc::clone(&self.room).acquire_many_owned(length).await.ok()?;
        Some(Packet { bytes, _room: room })
    }

    /// A place for a connection that a container opens: it waits for its other end as long as the permit is held.
    pub(crate) fn opened(self: &Arc<Self>, key: Key) -> Option<(Place, OwnedSemaphorePermit)> {
        let dialing = Arc::clone(&self.dialing).try_acquire_owned().ok()?;
        Some((self.place(key)?, dialing))
    }

    /// A place for a connection to a container, from the client's own port, or the next that is free.
    pub(crate) fn opening(self: &Arc<Self>, Key { port, remote }: Key) -> Option<Place> {
        let ports = (remote.port()..=u16::MAX).take(PORTS_TRIED_MAX);
        ports.filter_map(|from| self.place(Key { port, remote: SocketAddrV4::new(*remote.ip(), from) })).next()
    }

    fn place(self: &Arc<Self>, key: Key) -> Option<Place> {
        let mut table = self.table();
        if table.len() >= FLOWS_MAX {
            return None;
        }
        let Entry::Vacant(vacant) = table.entry(key) else { return None };
        let (sender, packets) = mpsc::channel(PACKETS_MAX);
        vacant.insert(sender);
        drop(table);
        Some(Place { packets, key, flows: Arc::clone(self) })
    }

    /// Hands a packet to its connection.
    pub(crate) fn hand(&self, key: Key, packet: Packet) -> Handed {
        let table = self.table();
        let Some(packets) = table.get(&key) else { return Handed::Stray(packet) };
        match packets.try_send(packet) {
            Ok(()) => Handed::Taken,
            Err(TrySendError::Closed(packet)) => Handed::Stray(packet),
            Err(TrySendError::Full(_)) => Handed::Full,
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Key, mpsc::Sender<Packet>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.flows.table().remove(&self.key);
    }
}
