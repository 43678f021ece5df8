//! One check of a probe or hook: a connection, or an HTTP request, over the pod network.

use std::net::{IpAddr, SocketAddr};

use http::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, HTTPHeader, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wherry_vnet::{Body, DialError, Network, full_body};

/// What a probe does.
pub struct Check<'a> {
    container: &'a Container,
    probe: Probe,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens.
    Refused(String),
    /// Anything else.
    Failed(String),
}

impl Trouble {
    /// The sentence for people.
    pub fn into_message(self) -> String {
        match self {
            Self::Refused(message) | Self::Failed(message) => message,
        }
    }
}

impl<'a> Check<'a> {
    pub fn new(container: &'a Container, probe: Probe) -> Self {
        Self { container, probe }
    }

    /// Checks once. Has no timeout of its own.
    pub async fn run(&self, network: &Network, address: IpAddr) -> Result<(), Trouble> {
        if let Some(get) = &self.probe.http_get {
            get_ok(network, address, self.container, get).await
        } else if let Some(tcp) = &self.probe.tcp_socket {
            let at = target(address, tcp.host.as_deref(), self.container, &tcp.port)?;
            network.dial(at).await.map(drop).map_err(|error| dial_trouble(at, &error))
        } else {
            Err(Trouble::Failed("exec and grpc probes are not supported for modules; use httpGet or tcpSocket".into()))
        }
    }
}

/// One GET, for a hook; any answer will do.
pub async fn http_get(
    network: &Network,
    address: IpAddr,
    container: &Container,
    get: &HTTPGetAction,
) -> Result<(), String> {
    get_status(network, address, container, get).await.map(drop).map_err(Trouble::into_message)
}

async fn get_ok(network: &Network, address: IpAddr, container: &Container, get: &HTTPGetAction) -> Result<(), Trouble> {
    let status = get_status(network, address, container, get).await?;
    let good = status.is_success() || status.is_redirection();
    if good { Ok(()) } else { Err(Trouble::Failed(format!("HTTP probe failed with statuscode: {}", status.as_u16()))) }
}

async fn get_status(
    network: &Network,
    address: IpAddr,
    container: &Container,
    get: &HTTPGetAction,
) -> Result<StatusCode, Trouble> {
    if get.scheme.as_deref() == Some("HTTPS") {
        return Err(Trouble::Failed("scheme HTTPS is not supported in probes; use HTTP or tcpSocket".into()));
    }
    let at = target(address, get.host.as_deref(), container, &get.port)?;
    let request = request(at, get).map_err(|error| Trouble::Failed(format!("malformed httpGet: {error}")))?;
    let failed = |error: &dyn std::fmt::Display| Trouble::Failed(format!("Get \"http://{at}\": {error}"));
    if let Some(handler) = network.handler(at) {
        return handler.handle(request).await.map(|answer| answer.status()).map_err(|error| failed(&error));
    }
    let stream = network.dial(at).await.map_err(|error| dial_trouble(at, &error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    tokio::select! {
        answer = sender.send_request(request) => answer.map(|answer| answer.status()).map_err(|error| failed(&error)),
        ended = connection => Err(failed(&ended.map_or_else(|error| error.to_string(), |()| "connection closed".into()))),
    }
}

fn request(at: SocketAddr, get: &HTTPGetAction) -> Result<Request<Body>, http::Error> {
    let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let headers = || get.http_headers.iter().flatten();
    let named = |name: &'static str| move |header: &&HTTPHeader| header.name.eq_ignore_ascii_case(name);
    let host = headers().find(named("host")).map_or_else(|| at.to_string(), |header| header.value.clone());
    let mut request = Request::get(format!("{slash}{path}")).header(http::header::HOST, host);
    if headers().find(named("user-agent")).is_none() {
        request = request.header(http::header::USER_AGENT, "kube-probe/wherry");
    }
    for header in headers().filter(|header| !header.name.eq_ignore_ascii_case("host")) {
        request = request.header(&header.name, &header.value);
    }
    request.body(full_body(""))
}

fn target(
    address: IpAddr,
    host: Option<&str>,
    container: &Container,
    port: &IntOrString,
) -> Result<SocketAddr, Trouble> {
    let ip = match host.filter(|host| !host.is_empty()) {
        None => address,
        Some(host) => host.parse().map_err(|_| Trouble::Failed(format!("host \"{host}\" is not an address")))?,
    };
    Ok(SocketAddr::new(ip, port_number(container, port)?))
}

fn port_number(container: &Container, port: &IntOrString) -> Result<u16, Trouble> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| Trouble::Failed(format!("no port is {port:?}")))
}

fn dial_trouble(at: SocketAddr, error: &DialError) -> Trouble {
    let message = format!("dial tcp {at}: connect: {error}");
    if matches!(error, DialError::Refused) { Trouble::Refused(message) } else { Trouble::Failed(message) }
}
