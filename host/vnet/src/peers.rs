//! What the network asks of whoever reaches the pods of other nodes: the tunnels, or nobody.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;

use crate::dial::DialError;
use crate::stream::Stream;

/// The ways to other nodes.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Joins a connection to a pod of another node, until it ends: `connection` is the far end, whose `local` address was
    /// dialed and whose `peer` is the client. Resolves as soon as that pod has taken it, or has not.
    async fn carry(&self, connection: Stream) -> Result<(), DialError>;

    /// Sends a datagram to a pod of another node. One that does not fit is dropped, as UDP may.
    fn send(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) -> io::Result<()>;
}
