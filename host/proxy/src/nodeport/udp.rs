//! UDP node ports: each client is a bounded session with a socket of its own in the pod network.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wherry_base::Drain;

use super::Port;

/// How many clients a node port remembers, how long after their last datagram, and how many datagrams wait for each.
const SESSIONS_MAX: usize = 1024;
const SESSION_IDLE: Duration = Duration::from_secs(60);
const SESSION_DATAGRAMS_MAX: usize = 64;

/// The largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

type Sessions = Arc<Mutex<HashMap<SocketAddr, mpsc::Sender<Bytes>>>>;

/// Opens the port; it is served until `end` is cancelled.
pub(crate) async fn start(port: Port, at: SocketAddr, end: CancellationToken, drain: &Drain) -> std::io::Result<()> {
    let socket = Arc::new(UdpSocket::bind(at).await?);
    let tasks = drain.clone();
    drain.vital().spawn(async move {
        let _ended = end.run_until_cancelled_owned(receive(socket, port, tasks)).await;
    });
    Ok(())
}

async fn receive(socket: Arc<UdpSocket>, port: Port, tasks: Drain) {
    let sessions = Sessions::default();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // Errors here are those of earlier sends, such as a client's closed port.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let payload = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        let known = lock(&sessions).get(&client).cloned();
        let session = known.or_else(|| open(&socket, &port, &sessions, client, &tasks));
        if let Some(session) = session {
            let _dropped_when_full = session.try_send(payload);
        }
    }
}

fn open(
    socket: &Arc<UdpSocket>,
    port: &Port,
    sessions: &Sessions,
    client: SocketAddr,
    tasks: &Drain,
) -> Option<mpsc::Sender<Bytes>> {
    let mut all = lock(sessions);
    if all.len() >= SESSIONS_MAX {
        return None;
    }
    let endpoint = port.backends()?.choose(client.ip())?.address;
    let mut inside = port.network.bind_node_udp().ok()?;
    let (sender, mut datagrams) = mpsc::channel(SESSION_DATAGRAMS_MAX);
    all.insert(client, sender.clone());
    let (socket, sessions) = (Arc::clone(socket), Arc::clone(sessions));
    tasks.spawn(async move {
        let exchange = exchange(&socket, client, &mut inside, endpoint, &mut datagrams);
        exchange.await;
        lock(&sessions).remove(&client);
    });
    Some(sender)
}

/// Passes datagrams both ways until there are none for a while.
async fn exchange(
    outside: &UdpSocket,
    client: SocketAddr,
    inside: &mut wherry_vnet::UdpSocket,
    endpoint: SocketAddr,
    datagrams: &mut mpsc::Receiver<Bytes>,
) {
    loop {
        let next = async {
            tokio::select! {
                payload = datagrams.recv() => payload.map(|payload| inside.send_to(payload, endpoint)),
                () = std::future::poll_fn(|context| inside.poll_receivable(context)) => Some(Ok(())),
            }
        };
        match tokio::time::timeout(SESSION_IDLE, next).await {
            Ok(Some(Ok(()))) => {}
            // Idle, or the endpoint is gone: the client's next datagram opens a session with another.
            Ok(Some(Err(_)) | None) | Err(_) => return,
        }
        while let Some(datagram) = inside.try_receive() {
            let _dropped_when_full = outside.try_send_to(&datagram.payload, client);
        }
    }
}

fn lock(sessions: &Sessions) -> MutexGuard<'_, HashMap<SocketAddr, mpsc::Sender<Bytes>>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}
