//! The TUN device in a pod's namespace: made, given the pod's address and the default route, and read and written packet by
//! packet.
//!
//! Packets are as large as IP has them, and their TCP and UDP checksums are neither made nor looked at: nothing can damage
//! them between the kernel and here (`TUN_F_CSUM`, `linux/virtio_net.h`). The device outlives this process, so that a
//! container which is bound to the pod's address stays so while the node's process is replaced.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_short, c_ulong, c_ushort, c_void};
use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bytes::{Bytes, BytesMut};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The largest packet, in bytes: what IPv4 allows. With it a transfer takes a fortieth of the packets of an Ethernet.
pub const MTU: usize = 65_535;

const NAME: &CStr = c"eth0";

/// What stands before each packet: `struct virtio_net_hdr`.
const HEADER_BYTES: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;

/// How much is read into at once, one packet after the other.
const BUFFER_BYTES: usize = 4 * (HEADER_BYTES + MTU);

/// An IPv4 header without options, which all packets have that are made here, and where the checksums are behind it.
const IP_HEADER_BYTES: u16 = 20;
const TCP_CHECKSUM_AT: u16 = 16;
const UDP_CHECKSUM_AT: u16 = 6;

thread_local! {
    /// Where packets are made.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The device.
pub(crate) struct Tun {
    fd: AsyncFd<OwnedFd>,
}

/// Packets that are read.
pub(crate) struct Packets {
    buffer: BytesMut,
}

impl Tun {
    /// Takes a device that [`make`] has made, in the present async runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: wherry_base::watched(fd, Interest::READABLE)? })
    }

    /// The next packet that the container sends.
    pub(crate) async fn read(&self, packets: &mut Packets) -> io::Result<Bytes> {
        self.fd.async_io(Interest::READABLE, |fd| packets.read(fd.as_fd())).await
    }

    /// Sends a packet to the container. `fill` makes it, `length` bytes at the most, and says how long it is.
    pub(crate) fn make_and_send<T>(&self, length: usize, fill: impl FnOnce(&mut [u8]) -> T) -> (T, io::Result<()>) {
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.len() < length {
                scratch.resize(length, 0);
            }
            let packet = scratch.get_mut(..length).unwrap_or_default();
            let made = fill(packet);
            (made, self.send(packet))
        })
    }

    /// Sends a packet to the container, whose TCP or UDP checksum need not be right.
    pub(crate) fn send(&self, packet: &[u8]) -> io::Result<()> {
        let header = header(packet);
        rustix::io::writev(self.fd.get_ref(), &[IoSlice::new(&header), IoSlice::new(packet)])?;
        Ok(())
    }
}

impl Packets {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::new() }
    }

    fn read(&mut self, fd: BorrowedFd<'_>) -> io::Result<Bytes> {
        if self.buffer.capacity() < HEADER_BYTES + MTU {
            self.buffer.reserve(BUFFER_BYTES);
        }
        let (read, _) = rustix::io::read(fd, self.buffer.spare_capacity_mut())?;
        let length = read.len();
        // SAFETY: so many bytes behind the last one are written.
        unsafe { self.buffer.set_len(self.buffer.len() + length) };
        let mut packet = self.buffer.split_to(length).freeze();
        Ok(packet.split_off(HEADER_BYTES.min(length)))
    }
}

/// What the kernel is told of a packet's checksum.
fn header(packet: &[u8]) -> [u8; HEADER_BYTES] {
    let checksum_at = match packet.get(9).map(|protocol| c_int::from(*protocol)) {
        Some(libc::IPPROTO_TCP) => TCP_CHECKSUM_AT,
        Some(libc::IPPROTO_UDP) => UDP_CHECKSUM_AT,
        _ => return [0; HEADER_BYTES],
    };
    let [start, offset] = [IP_HEADER_BYTES.to_ne_bytes(), checksum_at.to_ne_bytes()];
    [NEEDS_CHECKSUM, 0, 0, 0, 0, 0, start[0], start[1], offset[0], offset[1]]
}

/// `struct rtentry` of `linux/route.h`.
#[repr(C)]
struct Route {
    _pad1: c_ulong,
    destination: libc::sockaddr,
    _gateway: libc::sockaddr,
    mask: libc::sockaddr,
    flags: c_ushort,
    _pad2: c_short,
    _pad3: c_ulong,
    _pad4: *const c_void,
    _metric: c_short,
    device: *const c_char,
    _mtu: c_ulong,
    _window: c_ulong,
    _irtt: c_ushort,
}

/// Makes the device, or takes the one that an earlier process has made, and sets up the namespace of the calling thread.
pub(crate) fn make(address: Ipv4Addr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    let mut request = named(NAME);
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as _;
    control(&device, libc::TUNSETIFF as _, &mut request)?;
    set(&device, libc::TUNSETOFFLOAD as _, libc::TUN_F_CSUM as _)?;
    set(&device, libc::TUNSETPERSIST as _, 1)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    bring_up(&socket, c"lo")?;
    let mut request = named(NAME);
    request.ifr_ifru.ifru_addr = of_address(address);
    control(&socket, libc::SIOCSIFADDR as _, &mut request)?;
    request.ifr_ifru.ifru_netmask = of_address(Ipv4Addr::BROADCAST);
    control(&socket, libc::SIOCSIFNETMASK as _, &mut request)?;
    request.ifr_ifru.ifru_mtu = MTU as _;
    control(&socket, libc::SIOCSIFMTU as _, &mut request)?;
    bring_up(&socket, NAME)?;
    route_all(&socket)?;
    Ok(device)
}

fn bring_up(socket: &OwnedFd, name: &CStr) -> io::Result<()> {
    let mut request = named(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as _;
    control(socket, libc::SIOCSIFFLAGS as _, &mut request)
}

/// The default route leads to the device.
fn route_all(socket: &OwnedFd) -> io::Result<()> {
    let anywhere = of_address(Ipv4Addr::UNSPECIFIED);
    let mut route = Route {
        _pad1: 0,
        destination: anywhere,
        _gateway: anywhere,
        mask: anywhere,
        flags: libc::RTF_UP,
        _pad2: 0,
        _pad3: 0,
        _pad4: std::ptr::null(),
        _metric: 0,
        device: NAME.as_ptr(),
        _mtu: 0,
        _window: 0,
        _irtt: 0,
    };
    match control(socket, libc::SIOCADDRT as _, &mut route) {
        Err(there) if there.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        routed => routed,
    }
}

fn named(name: &CStr) -> libc::ifreq {
    // SAFETY: a structure of integers and pointers, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = from.cast_signed() as _;
    }
    request
}

fn of_address(address: Ipv4Addr) -> libc::sockaddr {
    let [a, b, c, d] = address.octets().map(|octet| octet.cast_signed() as _);
    // The port, which nobody looks at, comes before the address.
    libc::sockaddr { sa_family: libc::AF_INET as _, sa_data: [0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0] }
}

fn control<T>(fd: &OwnedFd, request: c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: each request here reads or writes a structure of the type that is passed, which lives through the call.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, std::ptr::from_mut(argument)) })
}

fn set(fd: &OwnedFd, request: c_ulong, value: c_ulong) -> io::Result<()> {
    // SAFETY: these requests take a number, and no memory.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, value) })
}

fn done(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
