//! TCP node ports: a connection from outside, joined to a stream to an endpoint, half-close included.

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use wherry_base::{Accepted, Acceptor, Drain};
use wherry_vnet::Stream;

use super::Port;
use crate::table::Permit;

/// How many connections a node port serves at a time.
const CONNECTIONS_MAX: usize = 16_384;

/// How many endpoints are tried for a connection.
const ENDPOINTS_TRIED_MAX: usize = 4;

/// Opens the port; it is served until `end` is cancelled. Connections outlive that.
pub(crate) async fn start(port: Port, at: SocketAddr, end: CancellationToken, drain: &Drain) -> std::io::Result<()> {
    let listener = TcpListener::bind(at).await?;
    let tasks = drain.clone();
    drain.vital().spawn(async move {
        let _ended = end.run_until_cancelled_owned(serve(listener, port, tasks)).await;
    });
    Ok(())
}

async fn serve(listener: TcpListener, port: Port, tasks: Drain) {
    let acceptor = Acceptor::new(listener, CONNECTIONS_MAX, tasks.clone());
    while let Some(Accepted { stream, peer, place }) = acceptor.next().await {
        let port = port.clone();
        tasks.spawn(async move {
            port.serve(stream, peer.ip()).await;
            drop(place);
        });
    }
}

impl Port {
    async fn serve(&self, mut client: TcpStream, from: IpAddr) {
        match self.dial(from).await {
            Some((mut pod, _counted)) => {
                if tokio::io::copy_bidirectional(&mut client, &mut pod).await.is_err() {
                    pod.abort();
                }
            }
            // Nobody serves: a reset says so sooner than an end of the stream.
            None => drop(client.set_zero_linger()),
        }
    }

    async fn dial(&self, from: IpAddr) -> Option<(Stream, Permit)> {
        let backends = self.backends()?;
        for _ in 0..ENDPOINTS_TRIED_MAX {
            let endpoint = backends.choose(from)?;
            match self.network.dial(endpoint.address).await {
                Ok(stream) => return Some((stream, endpoint.begin())),
                Err(why) => endpoint.failed(&why),
            }
        }
        None
    }
}
