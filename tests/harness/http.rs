//! One HTTP/1.1 request over a fresh connection: what curl would see.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// `GET path` with this Host header from a port of this machine.
pub async fn get(port: u16, host: &str, path: &str) -> anyhow::Result<Answer> {
    get_at((Ipv4Addr::LOCALHOST, port).into(), host, path).await
}

/// The same from an address.
pub async fn get_at(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<Answer> {
    tokio::time::timeout(PATIENCE, exchange(address, host, path)).await?
}

async fn exchange(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get(path).header("host", host).body(Empty::<Bytes>::new())?;
    let talk = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::pin!(talk);
    tokio::select! {
        answer = &mut talk => answer,
        ended = connection => { ended?; talk.await }
    }
}
