//! A pod with a network namespace in the kernel that the test makes itself, a pod without, and what both find.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use wherry_base::{Drain, Trigger};
use wherry_podnet::{Config, PodNet};
use wherry_vnet::{
    Egress, Namespace, Network, NetworkConfig, PodIdentity, Protocol, Resolution, Services, Translation,
};

/// Where containers find their resolver.
pub const DNS: &str = "10.96.0.10";
/// A Service whose port 80 is port 8080 of the plain pod, over TCP and UDP; its other ports have no endpoint.
pub const SERVICE: &str = "10.96.0.20";
/// A Service whose port 80 is port 8080 of the mixed pod itself.
pub const HAIRPIN: &str = "10.96.0.30";
pub const MIXED: &str = "10.128.0.2";
pub const PLAIN: &str = "10.128.0.3";

type Job = Box<dyn FnOnce() + Send>;

/// What stands for a pod's containers: a thread in a network namespace of its own. Sockets that it makes may be used
/// anywhere.
pub struct Containers(Sender<Job>);

pub struct World {
    pub network: Arc<Network>,
    /// At [`MIXED`], with containers.
    pub mixed: Arc<Namespace>,
    /// At [`PLAIN`], without.
    pub plain: Arc<Namespace>,
    pub containers: Containers,
    pub net: Arc<PodNet>,
    pub closed: Arc<AtomicUsize>,
    netns: OwnedFd,
    trigger: Trigger,
}

struct Known;

impl Services for Known {
    fn translate(&self, _: Protocol, _: IpAddr, to: SocketAddr) -> Translation {
        match (to.ip().to_string().as_str(), to.port()) {
            (SERVICE, 80) => Translation::Endpoint(at(PLAIN, 8080)),
            (HAIRPIN, 80) => Translation::Endpoint(at(MIXED, 8080)),
            (SERVICE | HAIRPIN, _) => Translation::Refused,
            _ => Translation::Direct,
        }
    }

    fn resolve(&self, _: &str, name: &str) -> Resolution {
        match name.trim_end_matches('.') {
            "web.default.svc.cluster.local" => Resolution::Addresses(vec![SERVICE.parse().unwrap()]),
            "many.default.svc.cluster.local" => {
                Resolution::Addresses((0..100).map(|last| Ipv4Addr::new(10, 128, 1, last).into()).collect())
            }
            name if name.ends_with("cluster.local") => Resolution::Missing,
            _ => Resolution::Foreign,
        }
    }
}

pub fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

impl World {
    /// `None`, and said loudly, where no network namespace can be made.
    pub fn new() -> Option<Self> {
        let (containers, netns) = match Containers::new() {
            Ok(made) => made,
            Err(error) => {
                static SKIPPED: AtomicU32 = AtomicU32::new(0);
                let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
                eprintln!("SKIPPED ({count} so far): no network namespace can be made here: {error}");
                return None;
            }
        };
        Some(Self::join(containers, netns))
    }

    fn join(containers: Containers, netns: OwnedFd) -> Self {
        let config = NetworkConfig {
            pod_cidr: "10.128.0.0/24".parse().unwrap(),
            cluster_cidr: "10.128.0.0/10".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: "192.168.1.1".parse().unwrap(),
        };
        let network = Network::new(config, Arc::new(Known));
        let pod = |name: &str| {
            let identity = PodIdentity { namespace: "default".into(), name: name.into(), uid: name.into() };
            network.namespace(identity, Egress::Denied).unwrap()
        };
        let (mixed, plain) = (pod("mixed"), pod("plain"));
        let (trigger, closed) = (Trigger::new(), Arc::new(AtomicUsize::new(0)));
        let net = open(&netns, &mixed, &closed, &trigger.drain());
        Self { network, mixed, plain, containers, net, closed, netns, trigger }
    }

    /// The same containers, and all else anew: the process of the node has died, and another one has come.
    pub async fn reopen(self) -> Self {
        let Self { mixed, containers, net, netns, trigger, .. } = self;
        mixed.close();
        drop((mixed, net));
        assert!(trigger.stop(std::time::Duration::from_secs(10)).await);
        Self::join(containers, netns)
    }

    /// Whether all that was spawned ends when the owner wants it to.
    pub async fn stop(self) -> bool {
        self.trigger.stop(std::time::Duration::from_secs(10)).await
    }
}

fn open(netns: &OwnedFd, namespace: &Arc<Namespace>, closed: &Arc<AtomicUsize>, drain: &Drain) -> Arc<PodNet> {
    let closed = Arc::clone(closed);
    let on_close = Box::new(move || {
        closed.fetch_add(1, Ordering::SeqCst);
    });
    let config = Config { dns: DNS.parse().unwrap(), on_close };
    wherry_podnet::open(netns.try_clone().unwrap(), namespace, config, drain).unwrap()
}

impl Containers {
    fn new() -> io::Result<(Self, OwnedFd)> {
        let (sender, jobs) = channel::<Job>();
        let (made, is_made) = channel();
        std::thread::spawn(move || {
            made.send(own_namespace()).unwrap();
            while let Ok(job) = jobs.recv() {
                job();
            }
        });
        let netns = is_made.recv().unwrap()?;
        Ok((Self(sender), netns))
    }

    pub fn within<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, done) = channel();
        self.0.send(Box::new(move || drop(sender.send(job())))).unwrap();
        done.recv().unwrap()
    }

    pub fn try_listen(&self, on: &'static str) -> io::Result<TcpListener> {
        let listener = self.within(move || std::net::TcpListener::bind(on))?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    pub fn listen(&self, on: &'static str) -> TcpListener {
        self.try_listen(on).unwrap()
    }

    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.within(|| {
            use rustix::net::{AddressFamily, SocketFlags, SocketType};
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
        })?;
        TcpSocket::from_std_stream(socket.into()).connect(to).await
    }

    pub fn udp(&self, on: &'static str) -> io::Result<UdpSocket> {
        let socket = self.within(move || std::net::UdpSocket::bind(on))?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    /// Sends packets as they are, as a container with `CAP_NET_RAW` may.
    pub fn send_raw(&self, packets: Vec<Vec<u8>>) {
        self.within(move || {
            use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};
            let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).unwrap();
            for packet in packets {
                let to = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[16..20]).unwrap());
                rustix::net::sendto(&socket, &packet, SendFlags::empty(), &SocketAddr::new(to.into(), 0)).unwrap();
            }
        });
    }
}

/// Moves this thread into a network namespace of its own.
fn own_namespace() -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    // SAFETY: only the network namespace of this thread is made anew, which shares no memory with others by it.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
    Ok(rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}
