//! The native server that modules are held against: hyper, which answers all with the same words.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const GREETING: &str = "Hello from nobody\n";

/// Serves HTTP/1.1 until it is dropped.
pub async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _slower_but_works = stream.set_nodelay(true);
        let answer = service_fn(async |_| {
            Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(GREETING.as_bytes()))))
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        connections.spawn(connection);
    }
}
