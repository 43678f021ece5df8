//! Packets as a container sends them, checked; and those that answer them. No state, no I/O.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{
    IPV4_HEADER_LEN, Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr,
    TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UDP_HEADER_LEN, UdpPacket, UdpRepr,
};
use wherry_vnet::DialError;

use crate::drops::Why;

/// A connection as the pod sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The container's port.
    pub(crate) port: u16,
    /// The other end, whoever that is in truth.
    pub(crate) remote: SocketAddrV4,
}

/// What a container has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent<'a> {
    /// A segment of a connection; `opens` says that it asks for one.
    Tcp {
        key: Key,
        opens: bool,
    },
    Udp {
        port: u16,
        to: SocketAddrV4,
        payload: &'a [u8],
    },
    /// An echo request to an address.
    Echo {
        to: Ipv4Addr,
    },
}

const HOPS: u8 = 64;

/// Reads what a container of the pod at `own` has sent. The checksums of TCP and UDP are not looked at.
pub(crate) fn read(packet: &[u8], own: Ipv4Addr) -> Result<Sent<'_>, Why> {
    let ip = parse(packet)?;
    if ip.src_addr() != own {
        return Err(Why::Spoofed);
    }
    let to = ip.dst_addr();
    if !is_somebody(to) || to == own {
        return Err(Why::Unroutable);
    }
    match ip.next_header() {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(ip.payload()).map_err(|_| Why::Malformed)?;
            let key = Key { port: tcp.src_port(), remote: SocketAddrV4::new(to, tcp.dst_port()) };
            if key.port == 0 || key.remote.port() == 0 {
                return Err(Why::Malformed);
            }
            Ok(Sent::Tcp { key, opens: tcp.syn() && !tcp.ack() && !tcp.rst() && !tcp.fin() })
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(ip.payload()).map_err(|_| Why::Malformed)?;
            if udp.src_port() == 0 || udp.dst_port() == 0 {
                return Err(Why::Malformed);
            }
            let to = SocketAddrV4::new(to, udp.dst_port());
            Ok(Sent::Udp { port: udp.src_port(), to, payload: udp.payload() })
        }
        IpProtocol::Icmp => {
            let icmp = Icmpv4Packet::new_checked(ip.payload()).map_err(|_| Why::Malformed)?;
            if icmp.msg_type() == Icmpv4Message::EchoRequest { Ok(Sent::Echo { to }) } else { Err(Why::Protocol) }
        }
        _ => Err(Why::Protocol),
    }
}

fn parse(packet: &[u8]) -> Result<Ipv4Packet<&[u8]>, Why> {
    let ip = Ipv4Packet::new_checked(packet).map_err(|_| Why::Malformed)?;
    if ip.version() != 4 {
        return Err(Why::Malformed);
    }
    if ip.more_frags() || ip.frag_offset() != 0 {
        return Err(Why::Fragment);
    }
    Ok(ip)
}

/// Whether an address may be that of one machine that is not this one.
fn is_somebody(address: Ipv4Addr) -> bool {
    let nobody = address.is_multicast() || address.is_broadcast() || address.is_loopback();
    // The network 0 is this machine's, and the class E nobody's.
    !nobody && address.octets()[0] != 0 && address.octets()[0] < 240
}

/// What is not computed: see [`device`](crate::device).
pub(crate) fn checksums() -> ChecksumCapabilities {
    let mut checksums = ChecksumCapabilities::default();
    checksums.tcp = Checksum::None;
    checksums.udp = Checksum::None;
    checksums
}

/// How long a datagram's packet is.
pub(crate) const fn datagram_length(payload: &[u8]) -> usize {
    IPV4_HEADER_LEN + UDP_HEADER_LEN + payload.len()
}

/// A datagram to a container, made in a packet of [`datagram_length`].
pub(crate) fn datagram(packet: &mut [u8], from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
    let udp = UdpRepr { src_port: from.port(), dst_port: to.port() };
    let ip = header(*from.ip(), *to.ip(), IpProtocol::Udp, UDP_HEADER_LEN + payload.len());
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut *packet), &checksums());
    let mut udp_packet = UdpPacket::new_unchecked(packet.get_mut(IPV4_HEADER_LEN..).unwrap_or_default());
    let (from, to) = ((*from.ip()).into(), (*to.ip()).into());
    udp.emit(&mut udp_packet, &from, &to, payload.len(), |body| body.copy_from_slice(payload), &checksums());
}

/// What tells a container that its connection or datagram was not taken. `None`: nothing does.
pub(crate) fn refusal(packet: &[u8], why: &DialError) -> Option<Vec<u8>> {
    match why {
        DialError::Refused | DialError::Overloaded => match parse(packet).ok()?.next_header() {
            IpProtocol::Tcp => reset(packet),
            _ => unreachable(packet, Icmpv4DstUnreachable::PortUnreachable),
        },
        DialError::Denied => unreachable(packet, Icmpv4DstUnreachable::CommProhibited),
        DialError::Unreachable | DialError::PeerUnreachable | DialError::Io(_) => {
            unreachable(packet, Icmpv4DstUnreachable::HostUnreachable)
        }
    }
}

/// A reset of the connection that a segment belongs to (RFC 9293, 3.10.7.1). Nothing resets a reset.
pub(crate) fn reset(packet: &[u8]) -> Option<Vec<u8>> {
    let ip = parse(packet).ok()?;
    let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
    if tcp.rst() {
        return None;
    }
    let (seq_number, ack_number) = if tcp.ack() {
        (tcp.ack_number(), None)
    } else {
        (TcpSeqNumber(0), Some(tcp.seq_number() + tcp.segment_len()))
    };
    let answer = TcpRepr {
        src_port: tcp.dst_port(),
        dst_port: tcp.src_port(),
        control: TcpControl::Rst,
        seq_number,
        ack_number,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None, None, None],
        timestamp: None,
        payload: &[],
    };
    let header = header(ip.dst_addr(), ip.src_addr(), IpProtocol::Tcp, answer.buffer_len());
    let (from, to) = (ip.dst_addr().into(), ip.src_addr().into());
    Some(with_header(&header, |body| answer.emit(&mut TcpPacket::new_unchecked(body), &from, &to, &checksums())))
}

/// The answer to an echo request.
pub(crate) fn echo(packet: &[u8]) -> Option<Vec<u8>> {
    let ip = parse(packet).ok()?;
    let icmp = Icmpv4Packet::new_checked(ip.payload()).ok()?;
    let Ok(Icmpv4Repr::EchoRequest { ident, seq_no, data }) = Icmpv4Repr::parse(&icmp, &checksums()) else {
        return None;
    };
    Some(icmp_to(&ip, &Icmpv4Repr::EchoReply { ident, seq_no, data }))
}

fn unreachable(packet: &[u8], reason: Icmpv4DstUnreachable) -> Option<Vec<u8>> {
    let ip = parse(packet).ok()?;
    let header = Ipv4Repr::parse(&ip, &ChecksumCapabilities::ignored()).ok()?;
    // As much of it as RFC 792 asks for: the receiver finds its socket by the ports.
    let data = ip.payload().get(..8)?;
    Some(icmp_to(&ip, &Icmpv4Repr::DstUnreachable { reason, header, data }))
}

/// An ICMP message to who has sent a packet, from whom it was for.
fn icmp_to(ip: &Ipv4Packet<&[u8]>, message: &Icmpv4Repr<'_>) -> Vec<u8> {
    let header = header(ip.dst_addr(), ip.src_addr(), IpProtocol::Icmp, message.buffer_len());
    with_header(&header, |body| message.emit(&mut Icmpv4Packet::new_unchecked(body), &checksums()))
}

const fn header(src_addr: Ipv4Addr, dst_addr: Ipv4Addr, next_header: IpProtocol, payload_len: usize) -> Ipv4Repr {
    Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit: HOPS }
}

fn with_header(header: &Ipv4Repr, emit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut packet = vec![0; IPV4_HEADER_LEN + header.payload_len];
    header.emit(&mut Ipv4Packet::new_unchecked(&mut packet), &checksums());
    emit(packet.get_mut(IPV4_HEADER_LEN..).unwrap_or_default());
    packet
}

#[cfg(test)]
mod tests;
