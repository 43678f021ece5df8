//! The pod network in user space: every pod a namespace with its own address, localhost and port space, as objects
//! in the node process.
//!
//! Owns namespaces, address allocation, in-memory streams and datagrams, and the dialer through which every
//! connection is made. Knows no runtime, no Kubernetes objects: what a Service is, it asks of [`Services`], and how pods of
//! other nodes are reached, of [`Peers`].
//! Kernel sockets are opened only for addresses outside the cluster, and only where egress is allowed.

mod addresses;
mod dial;
mod egress;
mod gate;
mod http;
mod kernel;
mod listener;
mod namespace;
mod network;
mod peers;
mod pipe;
mod ports;
mod route;
mod services;
mod socket;
mod stream;
mod udp;
mod uplink;

pub use crate::http::{Body, BoxError, HttpHandler, Unanswered, full_body};
pub use dial::DialError;
pub use gate::Gate;
pub use kernel::KernelSide;
pub use listener::{LISTENER_BACKLOG_MAX, Listener};
pub use namespace::{BindError, Namespace};
pub use network::{AddressesExhausted, Egress, Network, NetworkConfig, PodIdentity};
pub use peers::Peers;
pub use services::{NoServices, Protocol, Resolution, Services, Translation};
pub use socket::socket_pair;
pub use stream::{ReadHalf, STREAM_BUFFER_BYTES_MAX, Stream, TryRead, WriteError, WriteHalf, pair};
pub use udp::{Datagram, UdpSocket};
pub use uplink::{Holder, PortKind, Uplink, Way};
