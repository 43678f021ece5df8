//! `wasi:sockets@0.3`: what its generated bindings have of their own, put in terms of what both versions share.
//!
//! Follows the WIT of `wasi:sockets@0.3.0` (copied into `wit3/deps`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use wasmtime_wasi::TrappableError;
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode as ErrorCode2};

use super::NetView;

mod generated {
    #![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated from WIT")]
    wasmtime::component::bindgen!({
        path: "wit3",
        world: "vnet:host/sockets",
        imports: {
            "wasi:sockets/types.[method]tcp-socket.bind": async | trappable,
            "wasi:sockets/types.[method]udp-socket.bind": async | trappable,
            "wasi:sockets/types.[method]tcp-socket.listen": store | trappable,
            "wasi:sockets/types.[method]tcp-socket.send": store | trappable,
            "wasi:sockets/types.[method]tcp-socket.receive": store | trappable,
            default: trappable,
        },
        require_store_data_send: true,
        trappable_error_type: { "wasi:sockets/types.error-code" => super::SocketError },
        with: {
            "wasi:clocks": wasmtime_wasi::p3::bindings::clocks,
            "wasi:sockets/types.tcp-socket": crate::sockets::VTcp,
            "wasi:sockets/types.udp-socket": crate::sockets::VUdp,
        },
    });
}

pub(super) use generated::wasi::sockets::{ip_name_lookup, types};

/// An error for the guest, or a trap.
pub type SocketError = TrappableError<types::ErrorCode>;

impl types::Host for NetView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<types::ErrorCode> {
        error.downcast()
    }
}

pub(super) fn code(code: ErrorCode2) -> SocketError {
    types::ErrorCode::from(code).into()
}

impl From<ErrorCode2> for types::ErrorCode {
    fn from(code: ErrorCode2) -> Self {
        match code {
            ErrorCode2::AccessDenied => Self::AccessDenied,
            ErrorCode2::NotSupported => Self::NotSupported,
            ErrorCode2::InvalidArgument => Self::InvalidArgument,
            ErrorCode2::OutOfMemory => Self::OutOfMemory,
            ErrorCode2::Timeout => Self::Timeout,
            ErrorCode2::ConcurrencyConflict | ErrorCode2::NotInProgress | ErrorCode2::InvalidState => {
                Self::InvalidState
            }
            ErrorCode2::AddressNotBindable => Self::AddressNotBindable,
            ErrorCode2::AddressInUse | ErrorCode2::NewSocketLimit => Self::AddressInUse,
            ErrorCode2::RemoteUnreachable => Self::RemoteUnreachable,
            ErrorCode2::ConnectionRefused => Self::ConnectionRefused,
            ErrorCode2::ConnectionReset => Self::ConnectionReset,
            ErrorCode2::ConnectionAborted => Self::ConnectionAborted,
            ErrorCode2::DatagramTooLarge => Self::DatagramTooLarge,
            _ => Self::Other(None),
        }
    }
}

pub(super) const fn family2(family: types::IpAddressFamily) -> network::IpAddressFamily {
    match family {
        types::IpAddressFamily::Ipv4 => network::IpAddressFamily::Ipv4,
        types::IpAddressFamily::Ipv6 => network::IpAddressFamily::Ipv6,
    }
}

pub(super) const fn family3(family: network::IpAddressFamily) -> types::IpAddressFamily {
    match family {
        network::IpAddressFamily::Ipv4 => types::IpAddressFamily::Ipv4,
        network::IpAddressFamily::Ipv6 => types::IpAddressFamily::Ipv6,
    }
}

impl From<IpAddr> for types::IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(ip) => Self::Ipv4(ip.octets().into()),
            IpAddr::V6(ip) => Self::Ipv6(ip.segments().into()),
        }
    }
}

impl From<SocketAddr> for types::IpSocketAddress {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => {
                Self::Ipv4(types::Ipv4SocketAddress { port: v4.port(), address: v4.ip().octets().into() })
            }
            SocketAddr::V6(v6) => Self::Ipv6(types::Ipv6SocketAddress {
                port: v6.port(),
                flow_info: v6.flowinfo(),
                address: v6.ip().segments().into(),
                scope_id: v6.scope_id(),
            }),
        }
    }
}

impl From<types::IpSocketAddress> for SocketAddr {
    fn from(address: types::IpSocketAddress) -> Self {
        match address {
            types::IpSocketAddress::Ipv4(v4) => {
                SocketAddrV4::new(Ipv4Addr::from(<[u8; 4]>::from(v4.address)), v4.port).into()
            }
            types::IpSocketAddress::Ipv6(v6) => {
                let ip = Ipv6Addr::from(<[u16; 8]>::from(v6.address));
                SocketAddrV6::new(ip, v6.port, v6.flow_info, v6.scope_id).into()
            }
        }
    }
}
