//! The only kernel sockets of the pod network: connections and names outside the cluster, for those who may.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use wherry_base::Drain;

use crate::dial::DialError;
use crate::services::Resolution;
use crate::stream::Stream;

/// How long the world may take to answer a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many addresses of a foreign name are passed on.
const ADDRESSES_MAX: usize = 16;

pub(crate) async fn connect(to: SocketAddr) -> Result<TcpStream, DialError> {
    let timed_out = || DialError::Io(std::io::ErrorKind::TimedOut.into());
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await.map_err(|_| timed_out())?;
    let stream = stream.map_err(refused_or_io)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Copies both ways until both ends are done or one breaks.
pub(crate) fn bridge(tasks: &Drain, mut kernel: TcpStream, mut ours: Stream) {
    tasks.spawn(async move {
        if tokio::io::copy_bidirectional(&mut kernel, &mut ours).await.is_err() {
            ours.abort();
        }
    });
}

pub(crate) async fn resolve(name: &str) -> Result<Vec<IpAddr>, Resolution> {
    let found = tokio::net::lookup_host((name, 0)).await.map_err(|_| Resolution::Missing)?;
    let addresses: Vec<IpAddr> = found.map(|address| address.ip()).take(ADDRESSES_MAX).collect();
    if addresses.is_empty() { Err(Resolution::Missing) } else { Ok(addresses) }
}

fn refused_or_io(error: std::io::Error) -> DialError {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => DialError::Refused,
        std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => DialError::Unreachable,
        _ => DialError::Io(error),
    }
}
