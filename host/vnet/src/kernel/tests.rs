use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{Egress, Namespace, Network, NetworkConfig, NoServices, PodIdentity, socket_pair};

/// A kernel whose containers listen on 5432 and echo what they hear.
#[derive(Default)]
struct Kernel {
    bound: Mutex<BTreeSet<(Protocol, SocketAddr)>>,
    sent: Mutex<Vec<String>>,
    closed: Mutex<usize>,
}

const TAKEN: u16 = 5432;

#[async_trait]
impl KernelSide for Kernel {
    async fn connect(&self, to: SocketAddr) -> Result<OwnedFd, DialError> {
        self.note(format!("within to {to}"));
        if to.port() != TAKEN {
            return Err(DialError::Refused);
        }
        let (ours, theirs) = socket_pair()?;
        let theirs = std::os::unix::net::UnixStream::from(theirs);
        std::io::Write::write_all(&mut &theirs, b"hi")?;
        Ok(ours)
    }

    async fn carry(&self, mut connection: Stream) -> Result<(), DialError> {
        self.note(format!("from {} to {}", connection.peer.ip(), connection.local));
        if connection.local.port() != TAKEN {
            return Err(DialError::Refused);
        }
        connection.writer.try_write(Bytes::from_static(b"hi")).map_err(|_| DialError::Refused)
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) -> io::Result<()> {
        self.note(format!("{} from {from} to {to}", String::from_utf8_lossy(&payload)));
        Ok(())
    }

    fn bind(&self, protocol: Protocol, at: SocketAddr) -> Result<(), BindError> {
        if at.port() == TAKEN {
            return Err(BindError::InUse);
        }
        self.bound.lock().unwrap().insert((protocol, at));
        Ok(())
    }

    fn unbind(&self, protocol: Protocol, at: SocketAddr) {
        self.bound.lock().unwrap().remove(&(protocol, at));
    }

    fn close(&self) {
        *self.closed.lock().unwrap() += 1;
    }
}

impl Kernel {
    fn note(&self, what: String) {
        self.sent.lock().unwrap().push(what);
    }

    fn noted(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    fn bound(&self) -> Vec<String> {
        self.bound.lock().unwrap().iter().map(|(protocol, at)| format!("{protocol:?} {at}")).collect()
    }

    fn closed(&self) -> usize {
        *self.closed.lock().unwrap()
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn network() -> Arc<Network> {
    let config = NetworkConfig {
        pod_cidr: "10.128.0.0/24".parse().unwrap(),
        cluster_cidr: "10.128.0.0/10".parse().unwrap(),
        service_cidr: "10.96.0.0/12".parse().unwrap(),
        node_ip: "192.168.1.1".parse().unwrap(),
    };
    Network::new(config, Arc::new(NoServices))
}

/// A pod at 10.128.0.2 with containers, and one at 10.128.0.3 without.
fn pods(network: &Arc<Network>) -> (Arc<Namespace>, Arc<Kernel>, Arc<Namespace>) {
    let pod = |name: &str| {
        let identity = PodIdentity { namespace: "default".into(), name: name.into(), uid: name.into() };
        network.namespace(identity, Egress::Denied).unwrap()
    };
    let (mixed, plain, kernel) = (pod("mixed"), pod("plain"), Arc::new(Kernel::default()));
    mixed.attach(Arc::<Kernel>::clone(&kernel)).unwrap();
    (mixed, kernel, plain)
}

#[tokio::test]
async fn connections_that_no_module_takes_go_to_the_containers() {
    let network = network();
    let (mixed, kernel, plain) = pods(&network);
    let mut listener = mixed.listen(at("0.0.0.0:80")).unwrap();
    let check = async |from: &Arc<Namespace>, to: &str, expected: Result<&str, DialError>, noted: &[&str]| {
        let heard = match from.connect(at(to)).await {
            Ok(mut stream) => {
                let mut heard = String::new();
                stream.read_to_string(&mut heard).await.unwrap();
                Ok(heard)
            }
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(heard, expected.map(str::to_owned).map_err(|error| error.to_string()), "{to}");
        assert_eq!(kernel.noted(), noted, "{to}");
    };
    check(&mixed, "127.0.0.1:5432", Ok("hi"), &["within to 127.0.0.1:5432"]).await;
    check(&mixed, "10.128.0.2:5432", Ok("hi"), &["within to 10.128.0.2:5432"]).await;
    check(&mixed, "127.0.0.1:1", Err(DialError::Refused), &["within to 127.0.0.1:1"]).await;
    check(&plain, "10.128.0.2:5432", Ok("hi"), &["from 10.128.0.3 to 10.128.0.2:5432"]).await;
    check(&plain, "10.128.0.2:1", Err(DialError::Refused), &["from 10.128.0.3 to 10.128.0.2:1"]).await;
    check(&plain, "127.0.0.1:5432", Err(DialError::Refused), &[]).await;
    assert!(mixed.connect(at("127.0.0.1:80")).await.is_ok() && listener.accept().await.is_some());
    let dialed = network.dial(at("10.128.0.2:5432")).await.unwrap();
    assert_eq!(dialed.local.ip(), network.config().node_ip);
    assert_eq!(kernel.noted(), ["from 192.168.1.1 to 10.128.0.2:5432"]);
    let opened = network.open(at("10.129.0.9:999"), at("10.128.0.2:5432")).await;
    assert!(opened.is_ok());
    assert_eq!(kernel.noted(), ["from 10.129.0.9 to 10.128.0.2:5432"]);
}

#[tokio::test]
async fn connections_of_containers_reach_modules() {
    let (mixed, _kernel, _plain) = pods(&network());
    let mut listener = mixed.listen(at("0.0.0.0:80")).unwrap();
    let (ours, theirs) = socket_pair().unwrap();
    mixed.accept(at("127.0.0.1:4000"), at("127.0.0.1:80"), theirs).unwrap();
    let mut accepted = listener.accept().await.unwrap();
    assert_eq!((accepted.peer, accepted.local), (at("127.0.0.1:4000"), at("127.0.0.1:80")));
    accepted.write_all(b"hello").await.unwrap();
    drop(accepted);
    let mut heard = String::new();
    std::io::Read::read_to_string(&mut std::os::unix::net::UnixStream::from(ours), &mut heard).unwrap();
    assert_eq!(heard, "hello");
    let (_ours, theirs) = socket_pair().unwrap();
    assert!(matches!(mixed.accept(at("127.0.0.1:4000"), at("127.0.0.1:81"), theirs), Err(DialError::Refused)));
}

#[test]
fn a_port_is_taken_on_both_sides_or_on_none() {
    let network = network();
    let (mixed, kernel, plain) = pods(&network);
    let tcp = mixed.listen(at("0.0.0.0:80")).unwrap();
    let udp = mixed.bind_udp(at("127.0.0.1:53")).unwrap();
    assert_eq!(kernel.bound(), ["Tcp 0.0.0.0:80", "Udp 127.0.0.1:53"]);
    assert_eq!(mixed.listen(at("127.0.0.1:5432")).map(drop), Err(BindError::InUse));
    assert_eq!(mixed.bind_udp(at("0.0.0.0:5432")).map(drop), Err(BindError::InUse));
    assert!(plain.listen(at("0.0.0.0:5432")).is_ok());
    drop((tcp, udp));
    assert_eq!(kernel.bound(), [""; 0]);
    let _picked = mixed.listen(at("0.0.0.0:0")).unwrap();
    assert_eq!(kernel.bound().len(), 1);
}

#[test]
fn another_kernel_gets_the_ports_that_are_bound_and_the_last_is_closed() {
    let network = network();
    let (mixed, first, _plain) = pods(&network);
    let _listener = mixed.listen(at("0.0.0.0:80")).unwrap();
    let second = Arc::new(Kernel::default());
    mixed.attach(Arc::<Kernel>::clone(&second)).unwrap();
    assert_eq!((first.closed(), second.closed()), (1, 0));
    assert_eq!(second.bound(), ["Tcp 0.0.0.0:80"]);
    mixed.close();
    assert_eq!((first.closed(), second.closed()), (1, 1));
    let late = Arc::new(Kernel::default());
    assert_eq!(mixed.attach(Arc::<Kernel>::clone(&late)), Err(BindError::Closed));
    assert_eq!(late.closed(), 1);
}

#[test]
fn datagrams_that_no_module_takes_go_to_the_containers() {
    let network = network();
    let (mixed, kernel, plain) = pods(&network);
    let mut own = mixed.bind_udp(at("0.0.0.0:53")).unwrap();
    let other = plain.bind_udp(at("0.0.0.0:1000")).unwrap();
    own.send_to("a".into(), at("127.0.0.1:9")).unwrap();
    own.send_to("b".into(), at("10.128.0.2:9")).unwrap();
    other.send_to("c".into(), at("10.128.0.2:9")).unwrap();
    assert!(other.send_to("d".into(), at("127.0.0.1:9")).is_err());
    network.receive(at("10.129.0.9:7"), at("10.128.0.2:9"), "e".into());
    let expected = [
        "a from 127.0.0.1:53 to 127.0.0.1:9",
        "b from 10.128.0.2:53 to 10.128.0.2:9",
        "c from 10.128.0.3:1000 to 10.128.0.2:9",
        "e from 10.129.0.9:7 to 10.128.0.2:9",
    ];
    assert_eq!(kernel.noted(), expected);
    mixed.receive(at("127.0.0.1:9"), at("127.0.0.1:53"), "f".into());
    assert_eq!(own.try_receive().unwrap().from, at("127.0.0.1:9"));
}

#[test]
fn a_container_sends_as_its_own_socket_does() {
    let (mixed, _kernel, plain) = pods(&network());
    let mut other = plain.bind_udp(at("0.0.0.0:1000")).unwrap();
    let container = mixed.udp_of_container(at("10.128.0.2:4444"));
    container.send_to("x".into(), at("10.128.0.3:1000")).unwrap();
    assert_eq!(other.try_receive().unwrap().from, at("10.128.0.2:4444"));
    assert!(mixed.bind_udp(at("0.0.0.0:4444")).is_ok(), "it holds no port here");
    let denied = container.send_to("x".into(), at("93.184.216.34:53"));
    assert_eq!(denied.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_closing_pod_breaks_what_it_has_with_containers() {
    let (mixed, _kernel, plain) = pods(&network());
    let mut stream = plain.connect(at("10.128.0.2:5432")).await.unwrap();
    let ends = [stream.local.ip(), stream.peer.ip()];
    assert_eq!(ends, [plain.address(), mixed.address()] as [IpAddr; 2]);
    mixed.close();
    let mut rest = Vec::new();
    assert!(stream.read_to_end(&mut rest).await.is_err());
}
