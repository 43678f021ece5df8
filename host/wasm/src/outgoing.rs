//! Outgoing `wasi:http` through the pod's network: names, Services, egress and refusal as for sockets.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};
use wherry_vnet::{DialError, Namespace, Resolution};

const CONNECT_MOST: Duration = Duration::from_secs(30);
const FIRST_BYTE_MOST: Duration = Duration::from_secs(600);

type Exchange = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(http::Response<WasiBody>, Exchange), Error>;

/// Sends a container's requests.
pub(crate) struct Outgoing {
    net: Arc<Namespace>,
}

impl Outgoing {
    pub(crate) const fn new(net: Arc<Namespace>) -> Self {
        Self { net }
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Exchange,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let net = Arc::clone(&self.net);
        Box::new(async move { send(&net, request, options).await })
    }

    // A guest's failures are its own to log: by default each of these is a warning of the node's.
    fn p2_error_from_hyper(&mut self, _: &hyper::Error) -> p2::ErrorCode {
        p2::ErrorCode::HttpProtocolError
    }

    fn p3_error_from_hyper(&mut self, _: &hyper::Error) -> p3::ErrorCode {
        p3::ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, _: &io::Error) -> p2::ErrorCode {
        p2::ErrorCode::ConnectionRefused
    }

    fn p3_error_from_connect(&mut self, _: &io::Error) -> p3::ErrorCode {
        p3::ErrorCode::ConnectionRefused
    }
}

async fn send(net: &Arc<Namespace>, request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Answer {
    if request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) {
        return Err(Error::TlsProtocolError);
    }
    let connect_most = options.as_ref().and_then(|o| o.connect_timeout).unwrap_or(CONNECT_MOST);
    let first_byte_most = options.as_ref().and_then(|o| o.first_byte_timeout).unwrap_or(FIRST_BYTE_MOST);
    let connecting = connect(net, request.uri());
    let stream = tokio::time::timeout(connect_most, connecting).await.map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Error::Hyper)?;
    let mut exchange = Box::pin(connection);
    let mut answer = Box::pin(tokio::time::timeout(first_byte_most, sender.send_request(origin_form(request))));
    // The exchange is driven here until the head is there, and by the caller from then on.
    let response = tokio::select! {
        answer = &mut answer => answer,
        ended = &mut exchange => match ended {
            Ok(()) => answer.await,
            Err(error) => return Err(Error::Hyper(error)),
        },
    };
    let response = response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(Error::Hyper)?;
    let response = response.map(|body| body.map_err(Error::Hyper).boxed_unsync());
    let rest: Exchange = Box::new(async move { exchange.await.map_err(Error::Hyper) });
    Ok((response, rest))
}

async fn connect(net: &Arc<Namespace>, uri: &http::Uri) -> Result<wherry_vnet::Stream, Error> {
    let host = uri.host().ok_or(Error::DestinationNotFound)?.trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(80);
    let address = match host.parse() {
        Ok(address) => address,
        Err(_) => {
            net.resolve(host).await.map_err(|e| unresolved(&e))?.into_iter().next().ok_or(Error::DestinationNotFound)?
        }
    };
    net.connect(SocketAddr::new(address, port)).await.map_err(refused)
}

/// A server expects a path, not a whole URI.
fn origin_form(request: http::Request<WasiBody>) -> http::Request<WasiBody> {
    let (mut parts, body) = request.into_parts();
    if let Some(path) = parts.uri.path_and_query().cloned() {
        parts.uri = path.into();
    }
    http::Request::from_parts(parts, body)
}

fn unresolved(error: &Resolution) -> Error {
    match error {
        Resolution::Foreign => Error::DestinationIpProhibited,
        _ => Error::DnsError { rcode: Some("NXDOMAIN".into()), info_code: None },
    }
}

fn refused(error: DialError) -> Error {
    match error {
        DialError::Refused | DialError::Overloaded => Error::ConnectionRefused,
        DialError::Unreachable | DialError::PeerUnreachable => Error::DestinationIpUnroutable,
        DialError::Denied => Error::DestinationIpProhibited,
        DialError::Io(error) => Error::Connect(error),
    }
}
