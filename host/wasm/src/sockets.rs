//! `wasi:sockets` 0.2 and 0.3 over the pod's virtual network, in place of wasmtime-wasi's kernel sockets.
//!
//! Follows the WIT of `wasi:sockets@0.2.12` and `@0.3.0` (copied into `wit` and `wit3`). The sockets are the same for both; each
//! version is a thin face. Errors are 0.2's codes until the last moment. Nothing in it blocks a thread.

mod lookup;
mod streams;
mod tcp;
mod tcp2;
mod tcp3;
mod udp;
mod udp2;
mod udp3;
mod version3;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddressFamily};
use wasmtime_wasi::p2::{IoError, SocketError};
use wherry_vnet::{BindError, DialError, Namespace};

pub use lookup::VResolve;
pub use tcp::VTcp;
pub use udp::VUdp;
pub use udp2::{VIncoming, VOutgoing};

mod generated {
    #![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated from WIT")]
    wasmtime::component::bindgen!({
        path: "wit",
        world: "vnet:host/sockets",
        imports: {
            "wasi:sockets/tcp.[method]tcp-socket.start-bind": async | trappable,
            "wasi:sockets/udp.[method]udp-socket.start-bind": async | trappable,
            default: trappable,
        },
        require_store_data_send: true,
        trappable_error_type: { "wasi:sockets/network.error-code" => wasmtime_wasi::p2::SocketError },
        with: {
            "wasi:io": wasmtime_wasi_io::bindings::wasi::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:sockets/network": wasmtime_wasi::p2::bindings::sockets::network,
            "wasi:sockets/instance-network": wasmtime_wasi::p2::bindings::sockets::instance_network,
            "wasi:sockets/tcp.tcp-socket": super::VTcp,
            "wasi:sockets/udp.udp-socket": super::VUdp,
            "wasi:sockets/udp.incoming-datagram-stream": super::VIncoming,
            "wasi:sockets/udp.outgoing-datagram-stream": super::VOutgoing,
            "wasi:sockets/ip-name-lookup.resolve-address-stream": super::VResolve,
        },
    });
}

use generated::wasi::sockets as bindings;

/// A pod's network and a container's resources, as the socket interfaces see them.
pub(crate) struct NetView<'a> {
    pub(crate) net: &'a Arc<Namespace>,
    /// Cancelled when the container is asked to stop: its listeners close, those of its pod's others do not.
    pub(crate) stopping: &'a CancellationToken,
    pub(crate) table: &'a mut ResourceTable,
}

/// Ties the generated linking code to [`NetView`].
pub(crate) struct HasNet;

impl HasData for HasNet {
    type Data<'a> = NetView<'a>;
}

impl network::Host for NetView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(&mut self, error: Resource<IoError>) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<std::io::Error>().map(io_code))
    }
}

impl network::HostNetwork for NetView<'_> {
    fn drop(&mut self, this: Resource<network::Network>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// Store data that has a network.
pub(crate) trait NetworkView: Send + 'static {
    fn network(&mut self) -> NetView<'_>;
}

/// Links the socket interfaces of 0.2.
pub(crate) fn add_to_linker<T: NetworkView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    bindings::tcp::add_to_linker::<T, HasNet>(linker, T::network)?;
    bindings::tcp_create_socket::add_to_linker::<T, HasNet>(linker, T::network)?;
    bindings::udp::add_to_linker::<T, HasNet>(linker, T::network)?;
    bindings::udp_create_socket::add_to_linker::<T, HasNet>(linker, T::network)?;
    bindings::ip_name_lookup::add_to_linker::<T, HasNet>(linker, T::network)
}

/// Links those of 0.3.
pub(crate) fn add_version3_to_linker<T: NetworkView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    version3::types::add_to_linker::<T, HasNet>(linker, T::network)?;
    version3::ip_name_lookup::add_to_linker::<T, HasNet>(linker, T::network)
}

/// Pods have IPv4 addresses: an IPv6 wildcard or localhost means the same as IPv4's.
fn to_virtual(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) if ip == Ipv6Addr::UNSPECIFIED => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()),
        IpAddr::V6(ip) if ip == Ipv6Addr::LOCALHOST => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

/// Where a socket is bound that names no address.
const fn any(family: IpAddressFamily) -> SocketAddr {
    match family {
        IpAddressFamily::Ipv4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        IpAddressFamily::Ipv6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

fn bind_code(error: BindError) -> ErrorCode {
    match error {
        BindError::InUse => ErrorCode::AddressInUse,
        BindError::NotLocal => ErrorCode::AddressNotBindable,
        BindError::Closed => ErrorCode::InvalidState,
    }
}

fn dial_code(error: &DialError) -> ErrorCode {
    match error {
        DialError::Refused => ErrorCode::ConnectionRefused,
        DialError::Unreachable | DialError::PeerUnreachable => ErrorCode::RemoteUnreachable,
        DialError::Denied => ErrorCode::AccessDenied,
        DialError::Overloaded => ErrorCode::ConnectionReset,
        DialError::Io(error) => io_code(error),
    }
}

fn io_code(error: &std::io::Error) -> ErrorCode {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
        std::io::ErrorKind::ConnectionReset => ErrorCode::ConnectionReset,
        std::io::ErrorKind::PermissionDenied => ErrorCode::AccessDenied,
        std::io::ErrorKind::TimedOut => ErrorCode::Timeout,
        std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => ErrorCode::RemoteUnreachable,
        _ => ErrorCode::Unknown,
    }
}
