//! One check of a probe or hook: a connection or a request over the pod network, or a program in the container.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wherry_runtime::Container as Running;
use wherry_vnet::{Body, DialError, Network, full_body};

use super::grpc;
use crate::programs::{self, Failure};

/// What a probe or hook does.
pub enum Check {
    /// A request, answered with a status below 400.
    Get(Get),
    /// A connection.
    Connect(SocketAddr),
    /// gRPC's own health check, answered with SERVING: its address and the service asked about.
    Grpc(SocketAddr, String),
    /// A program that ends with 0.
    Program(Arc<dyn Running>, Vec<String>),
    /// None of these, and why.
    Impossible(String),
}

/// A GET request.
pub struct Get {
    at: SocketAddr,
    path: String,
    host: String,
    headers: Vec<(String, String)>,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens.
    Refused(String),
    /// Anything else.
    Failed(String),
    /// Whether it is well cannot be told: the container's runtime does not answer.
    Unknown(String),
}

impl Trouble {
    /// The sentence for people.
    pub fn into_message(self) -> String {
        match self {
            Self::Refused(message) | Self::Failed(message) | Self::Unknown(message) => message,
        }
    }

    /// The same, with what it was the trouble of before it.
    fn of(self, title: &str) -> Self {
        match self {
            Self::Refused(message) => Self::Refused(format!("{title}: {message}")),
            Self::Failed(message) => Self::Failed(format!("{title}: {message}")),
            Self::Unknown(message) => Self::Unknown(format!("{title}: {message}")),
        }
    }
}

impl Check {
    /// The check of a probe of a container, which runs, whose pod is at `address`.
    pub fn new(address: IpAddr, container: &Container, probe: &Probe, running: &Arc<dyn Running>) -> Self {
        let check = if let Some(get) = &probe.http_get {
            Get::new(address, container, get).map(Self::Get)
        } else if let Some(tcp) = &probe.tcp_socket {
            target(address, tcp.host.as_deref(), container, &tcp.port).map(Self::Connect)
        } else if let Some(grpc) = &probe.grpc {
            let service = grpc.service.clone().unwrap_or_default();
            target(address, None, container, &IntOrString::Int(grpc.port)).map(|at| Self::Grpc(at, service))
        } else if let Some(exec) = &probe.exec {
            Ok(Self::Program(running.clone(), exec.command.clone().unwrap_or_default()))
        } else {
            Err("the probe names nothing to do".into())
        };
        check.unwrap_or_else(Self::Impossible)
    }

    /// What is said of a check that took longer than `timeout`.
    fn late(&self, timeout: Duration) -> String {
        match self {
            Self::Get(get) => {
                format!("{}: context deadline exceeded: no answer within {} s", get.title(), timeout.as_secs())
            }
            Self::Connect(at) => format!("dial tcp {at}: i/o timeout"),
            Self::Grpc(at, service) => {
                format!(
                    "timeout: health rpc did not complete within {} s: {at}, service \"{service}\"",
                    timeout.as_secs()
                )
            }
            Self::Program(_, command) => {
                format!("command timed out: \"{}\" timed out after {} s", command.join(" "), timeout.as_secs())
            }
            Self::Impossible(why) => why.clone(),
        }
    }

    /// Checks once, for so long at most. A program that takes longer is killed.
    pub async fn run(&self, network: &Network, limit: Duration) -> Result<(), Trouble> {
        match self {
            Self::Get(get) => self.in_time(limit, get.check(network)).await,
            Self::Connect(at) => self.in_time(limit, connect(network, *at)).await,
            Self::Grpc(at, service) => self.in_time(limit, ask(network, *at, service)).await,
            Self::Program(running, command) => {
                programs::run(running, command, limit).await.map_err(|failure| match failure {
                    Failure::Failed(message) => Trouble::Failed(message),
                    Failure::Late => Trouble::Failed(self.late(limit)),
                    Failure::Unknown(message) => Trouble::Unknown(message),
                })
            }
            Self::Impossible(why) => Err(Trouble::Failed(why.clone())),
        }
    }

    async fn in_time(&self, limit: Duration, check: impl Future<Output = Result<(), Trouble>>) -> Result<(), Trouble> {
        tokio::time::timeout(limit, check).await.unwrap_or_else(|_| Err(Trouble::Failed(self.late(limit))))
    }
}

async fn connect(network: &Network, at: SocketAddr) -> Result<(), Trouble> {
    network.dial(at).await.map(drop).map_err(|error| dial_trouble(at, &error))
}

async fn ask(network: &Network, at: SocketAddr, service: &str) -> Result<(), Trouble> {
    let stream = network.dial(at).await.map_err(|error| dial_trouble(at, &error))?;
    grpc::check(stream, at, service).await.map_err(Trouble::Failed)
}

impl Get {
    /// The request of a probe or hook. The error is a sentence.
    pub fn new(address: IpAddr, container: &Container, get: &HTTPGetAction) -> Result<Self, String> {
        if get.scheme.as_deref() == Some("HTTPS") {
            return Err("scheme HTTPS is not supported in probes; use HTTP or tcpSocket".into());
        }
        let at = target(address, get.host.as_deref(), container, &get.port)?;
        let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let headers = get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
        let (hosts, headers): (Vec<_>, Vec<_>) = headers.partition(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = hosts.into_iter().next().map_or_else(|| at.to_string(), |(_, host)| host);
        Ok(Self { at, path: format!("{slash}{path}"), host, headers })
    }

    async fn check(&self, network: &Network) -> Result<(), Trouble> {
        let status = self.status(network).await?;
        let good = status.is_success() || status.is_redirection();
        let failed = || Trouble::Failed(format!("HTTP probe failed with statuscode: {}", status.as_u16()));
        if good { Ok(()) } else { Err(failed()) }
    }

    /// Sends it once; the answer's status.
    pub async fn status(&self, network: &Network) -> Result<StatusCode, Trouble> {
        let (at, title) = (self.at, self.title());
        let request = self.request().map_err(|error| Trouble::Failed(format!("malformed httpGet: {error}")))?;
        let failed = |error: &dyn std::fmt::Display| Trouble::Failed(format!("{title}: {error}"));
        if let Some(handler) = network.handler(at) {
            return handler.handle(request).await.map(|answer| answer.status()).map_err(|error| failed(&error));
        }
        let stream = network.dial(at).await.map_err(|error| dial_trouble(at, &error).of(&title))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // A server that answers and closes at once has answered.
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(error),
            },
        };
        answer.map(|answer| answer.status()).map_err(|error| failed(&error))
    }

    /// As Go's client begins its messages.
    fn title(&self) -> String {
        format!("Get \"http://{}{}\"", self.at, self.path)
    }

    fn request(&self) -> Result<Request<Body>, http::Error> {
        let mut request = Request::get(&self.path).header(http::header::HOST, &self.host);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
            request = request.header(http::header::USER_AGENT, "kube-probe/wherry");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(full_body(""))
    }
}

fn target(
    address: IpAddr,
    host: Option<&str>,
    container: &Container,
    port: &IntOrString,
) -> Result<SocketAddr, String> {
    let ip = match host.filter(|host| !host.is_empty()) {
        None => address,
        Some(host) => host.parse().map_err(|_| format!("host \"{host}\" is not an address"))?,
    };
    Ok(SocketAddr::new(ip, port_number(container, port)?))
}

fn port_number(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("no port is {port:?}"))
}

fn dial_trouble(at: SocketAddr, error: &DialError) -> Trouble {
    let message = format!("dial tcp {at}: connect: {error}");
    if matches!(error, DialError::Refused) { Trouble::Refused(message) } else { Trouble::Failed(message) }
}
