//! What the node and a sandbox say to each other.
//!
//! Each message is one datagram of at most [`MESSAGE_BYTES_MAX`] bytes; descriptors that belong to it come with it, in
//! the order that its comment names. What a sandbox says is never believed beyond its own pods.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wherry_runtime::{Exit, ExitReason, PodRef, Survivor, Usage};
use wherry_vnet::{DialError, PortKind, Protocol, Resolution};

/// The version of these messages; a sandbox of another is not adopted.
pub const VERSION: u32 = 7;

/// How long a message may be: what a socket's buffer takes at once on every Linux.
pub(crate) const MESSAGE_BYTES_MAX: usize = 160 * 1024;

/// How many descriptors come with a message at most.
pub(crate) const DESCRIPTORS_MAX: usize = 64;

/// How many survivors a message tells of: with the longest messages of their ends they fit.
pub(crate) const SURVIVORS_A_MESSAGE: usize = 16;

/// How many bound ports a message tells of.
pub(crate) const PORTS_A_MESSAGE: usize = 1024;

/// From the node. `Hello` is the first of all versions, and begins with the version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToSandbox {
    /// The first message of a connection.
    Hello { version: u32, network: Ranges },
    /// Descriptors: the module's code, the log, both sides of the terminal where it has one, then the mounts in order.
    Start(Box<StartContainer>),
    /// SIGTERM.
    Stop { container: String },
    /// SIGKILL.
    Kill { container: String },
    /// Somebody types for a container; `once`: nobody else after that. Descriptor: the socket that it is read from.
    Input { container: String, once: bool },
    /// Somebody joins a container at its terminal; `stdin`: and types. Descriptor: the socket for what is typed and shown.
    Attach { container: String, stdin: bool },
    /// The terminal has another size.
    Resize { container: String, width: u16, height: u16 },
    /// A connection to a bound port of a pod. Descriptor: the socket.
    Accept { pod: IpAddr, from: SocketAddr, to: SocketAddr },
    /// Requests for the ports that take them come over a channel from now on. Descriptor: its end.
    Requests,
    /// To `ToNode::Connect`. Descriptor: the socket, where it is `Connected`.
    Dialed { request: u64, outcome: Result<Dialed, Refusal> },
    /// To `ToNode::Resolve`.
    Resolved { request: u64, outcome: Result<Vec<IpAddr>, NameError> },
    /// A port that was announced cannot be had: a Linux container of the pod has it.
    Taken(Port),
    /// The pod has Linux containers from now on: ports of its modules are sure when the node has heard of them.
    Mixed { pod: IpAddr },
    /// To `ToNode::Hear`.
    Heard { request: u64 },
    /// A datagram for a bound port of a pod.
    Datagram { pod: IpAddr, from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
    /// The log goes on in another file. Descriptor: the file.
    Log { container: String, bytes: u64 },
    /// A pod whose containers an earlier node has started is this node's: what it asks is answered.
    Adopt { pod: IpAddr },
    /// What became of a container is known, and need not be kept any longer.
    Forget { container: String },
}

/// From a sandbox. `Hello` is the first of all versions, and begins with the version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToNode {
    /// The answer to `Hello`, followed by `Survivors` and `Ports`, as many as it takes, and `Ready`.
    Hello { version: u32 },
    /// Containers that an earlier node has started.
    Survivors(Vec<SurvivingContainer>),
    /// Ports that their pods have bound.
    Ports(Vec<Port>),
    /// All is said that is to be known of the sandbox.
    Ready { engine: String, lacking: Vec<String> },
    /// To `Start`.
    Started { container: String, outcome: Result<(), Failure> },
    /// A container's end.
    Exited { container: String, exit: WireExit },
    /// A port of a pod of this sandbox.
    Bound { port: Port, is_bound: bool },
    /// Is answered when all is done that was said before.
    Hear { request: u64 },
    /// A pod wants a connection out of the sandbox.
    Connect { request: u64, pod: IpAddr, to: SocketAddr },
    /// A pod asks for a name.
    Resolve { request: u64, pod: IpAddr, name: String },
    /// A datagram from the port of a pod that is bound at `from`.
    Datagram { pod: IpAddr, from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
    /// A container's log has grown to so many bytes in its present file.
    Logged { container: String, bytes: u64 },
    /// What the containers have used, said now and then while it changes.
    Usage { container: String, cpu_nanos: u64, memory_bytes: u64 },
}

/// The node's address ranges.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ranges {
    pub(crate) pods: IpNet,
    pub(crate) cluster: IpNet,
    pub(crate) services: IpNet,
    pub(crate) node: IpAddr,
}

/// A container to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StartContainer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) run: u32,
    pub(crate) pod: PodPart,
    pub(crate) reference: String,
    pub(crate) digest: String,
    /// How the code is loaded, in the words of who compiled it.
    pub(crate) form: String,
    pub(crate) command: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) working_dir: String,
    /// Where each mount is for the guest, and whether it is read-only.
    pub(crate) mounts: Vec<(String, bool)>,
    pub(crate) cpu_milli: Option<u32>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) http_port: Option<u16>,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) tty: bool,
    /// How many bytes the log's file has already.
    pub(crate) log_bytes: u64,
}

/// A container that an earlier node has started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SurvivingContainer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) run: u32,
    pub(crate) pod: PodPart,
    pub(crate) reference: String,
    pub(crate) digest: String,
    pub(crate) since_millis: i64,
    /// `None`: it runs.
    pub(crate) exit: Option<WireExit>,
}

/// A container's pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PodPart {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) address: IpAddr,
}

/// Where a dialed connection leads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Dialed {
    Connected { local: SocketAddr, peer: SocketAddr },
    Here(SocketAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    Refused,
    Unreachable,
    Denied,
    Overloaded,
    TimedOut,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NameError {
    Missing,
    Foreign,
}

/// A bound port, at localhost, the pod's address, or the unspecified one, which is both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(crate) pod: IpAddr,
    pub(crate) at: SocketAddr,
    pub(crate) protocol: WireProtocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum WireProtocol {
    Tcp,
    /// TCP, and requests over the channel.
    Http,
    Udp,
}

/// A start that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireExit {
    code: i32,
    out_of_memory: bool,
    message: String,
}

impl SurvivingContainer {
    pub(crate) fn new(start: &StartContainer, since: Timestamp) -> Self {
        Self {
            id: start.id.clone(),
            name: start.name.clone(),
            run: start.run,
            pod: start.pod.clone(),
            reference: start.reference.clone(),
            digest: start.digest.clone(),
            since_millis: since.as_millisecond(),
            exit: None,
        }
    }

    /// As the agent knows it; `place` is the sandbox.
    pub(crate) fn told(&self, runtime: &'static str, place: &str) -> Survivor {
        let PodPart { namespace, name, uid, address } = self.pod.clone();
        Survivor {
            id: self.id.clone(),
            pod: PodRef { namespace, name, uid },
            address,
            name: self.name.clone(),
            run: self.run,
            reference: self.reference.clone(),
            digest: self.digest.clone(),
            since: Timestamp::from_millisecond(self.since_millis).unwrap_or_default(),
            exit: self.exit.clone().map(Exit::from),
            runtime,
            place: place.to_owned(),
        }
    }
}

impl From<Exit> for WireExit {
    fn from(exit: Exit) -> Self {
        Self { code: exit.code, out_of_memory: exit.reason == ExitReason::OomKilled, message: exit.message }
    }
}

impl From<WireExit> for Exit {
    fn from(exit: WireExit) -> Self {
        let reason = match (exit.out_of_memory, exit.code) {
            (true, _) => ExitReason::OomKilled,
            (false, 0) => ExitReason::Completed,
            (false, _) => ExitReason::Error,
        };
        Self { code: exit.code, reason, message: exit.message }
    }
}

impl From<DialError> for Refusal {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Refused => Self::Refused,
            DialError::Unreachable | DialError::PeerUnreachable => Self::Unreachable,
            DialError::Denied => Self::Denied,
            DialError::Overloaded => Self::Overloaded,
            DialError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Self::TimedOut,
            DialError::Io(_) => Self::Other,
        }
    }
}

impl From<Refusal> for DialError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Refused => Self::Refused,
            Refusal::Unreachable => Self::Unreachable,
            Refusal::Denied => Self::Denied,
            Refusal::Overloaded => Self::Overloaded,
            Refusal::TimedOut => Self::Io(std::io::ErrorKind::TimedOut.into()),
            Refusal::Other => Self::Io(std::io::ErrorKind::Other.into()),
        }
    }
}

impl From<Resolution> for NameError {
    fn from(resolution: Resolution) -> Self {
        if resolution == Resolution::Foreign { Self::Foreign } else { Self::Missing }
    }
}

impl From<NameError> for Resolution {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Missing => Self::Missing,
            NameError::Foreign => Self::Foreign,
        }
    }
}

impl From<PortKind> for WireProtocol {
    fn from(kind: PortKind) -> Self {
        match kind {
            PortKind::Tcp => Self::Tcp,
            PortKind::Http => Self::Http,
            PortKind::Udp => Self::Udp,
        }
    }
}

impl From<WireProtocol> for Protocol {
    fn from(protocol: WireProtocol) -> Self {
        match protocol {
            WireProtocol::Tcp | WireProtocol::Http => Self::Tcp,
            WireProtocol::Udp => Self::Udp,
        }
    }
}

impl ToNode {
    /// What a container has used.
    pub(crate) fn usage(container: &str, usage: Usage) -> Self {
        let Usage { cpu_nanos, memory_bytes } = usage;
        Self::Usage { container: container.to_owned(), cpu_nanos, memory_bytes }
    }
}
