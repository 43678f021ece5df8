//! Nodes with certificates, listeners and pod networks of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use wherry_api::routes::OFFER;
use wherry_base::{Drain, Trigger};
use wherry_pki::{Authority, Holder, LiveCertificate, Subject, Validity};
use wherry_tunnel::{Reach, TunnelServer, Tunnels};
use wherry_vnet::{Egress, Listener, Namespace, Network, NetworkConfig, NoServices, PodIdentity, Stream};

/// Nodes `a`, `b`, `c`: pods of the first have addresses 10.128.x.x, of the second 10.129.x.x, and so on.
pub struct World {
    pub nodes: Vec<Node>,
    pub authority: Authority,
    _trigger: Trigger,
}

pub struct Node {
    pub name: &'static str,
    pub network: Arc<Network>,
    pub tunnels: Arc<Tunnels>,
    pub server: TunnelServer,
    pub reach: Reach,
    /// How many connections were made to it.
    pub accepted: Arc<AtomicUsize>,
    pub client: rustls::ClientConfig,
}

pub const A: usize = 0;
pub const B: usize = 1;
pub const C: usize = 2;

impl World {
    /// Three nodes that know one another.
    pub async fn start() -> Self {
        let world = Self::apart().await;
        world.introduce(&[A, B, C]);
        world
    }

    /// Three nodes that know nobody.
    pub async fn apart() -> Self {
        Self::with_hidden(&[]).await
    }

    /// Three nodes that know nobody, and of which these are behind NAT.
    pub async fn with_hidden(hidden: &[usize]) -> Self {
        let _installed_by_another_test = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let trigger = Trigger::new();
        let authority = Authority::generate("test", now()).unwrap();
        let mut nodes = Vec::new();
        for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
            nodes.push(Node::start(name, index, hidden.contains(&index), &authority, &trigger.drain()).await);
        }
        Self { nodes, authority, _trigger: trigger }
    }

    /// Lets all know these.
    pub fn introduce(&self, known: &[usize]) {
        let known: Vec<_> = known.iter().map(|index| &self.nodes[*index]).collect();
        for node in &self.nodes {
            node.tunnels.set_peers(known.iter().map(|node| (node.name, node.reach.clone())));
        }
    }

    /// A pod of a node.
    pub fn pod(&self, node: usize, name: &str) -> Arc<Namespace> {
        let identity = PodIdentity { namespace: "default".into(), name: name.into(), uid: name.into() };
        self.nodes[node].network.namespace(identity, Egress::Denied).unwrap()
    }

    /// A pod of `b` that listens on port 80.
    pub fn server(&self) -> (Arc<Namespace>, Listener, SocketAddr) {
        let pod = self.pod(B, "server");
        let listener = pod.listen("0.0.0.0:80".parse().unwrap()).unwrap();
        let at = SocketAddr::new(pod.address(), 80);
        (pod, listener, at)
    }

    /// A connection from a pod of `a` to the listener, and its other end.
    pub async fn connection(
        &self,
        client: &Arc<Namespace>,
        listener: &mut Listener,
        to: SocketAddr,
    ) -> (Stream, Stream) {
        let ours = client.connect(to).await.unwrap();
        (ours, listener.accept().await.unwrap())
    }
}

impl Node {
    async fn start(name: &'static str, index: usize, is_hidden: bool, authority: &Authority, drain: &Drain) -> Self {
        let own = issue(authority, name);
        let client = wherry_pki::client_config(&own, &authority.certificate()).unwrap();
        let tunnels = Tunnels::new(name, client.clone(), is_hidden, drain.clone());
        let range = format!("10.{}.0.0/16", 128 + index);
        let config = NetworkConfig {
            pod_cidr: range.parse().unwrap(),
            cluster_cidr: "10.128.0.0/10".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: format!("10.{}.0.1", 128 + index).parse().unwrap(),
        };
        let network = Network::among(config, Arc::new(NoServices), Arc::<Tunnels>::clone(&tunnels));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = TunnelServer::new(Arc::clone(&tunnels), Arc::clone(&network), at);
        let reach = Reach { ranges: vec![range.parse().unwrap()], endpoint: (!is_hidden).then_some(at) };
        let accepted = Arc::new(AtomicUsize::new(0));
        let mut tls = wherry_pki::server_config(&own, &authority.certificate(), false).unwrap();
        tls.alpn_protocols.push(OFFER.to_vec());
        let tls = TlsAcceptor::from(Arc::new(tls));
        drain.spawn(serve(listener, tls, server.clone(), Arc::clone(&accepted), drain.clone()));
        Self { name, network, tunnels, server, reach, accepted, client }
    }
}

/// As the node's endpoints for the API server do it.
async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    server: TunnelServer,
    accepted: Arc<AtomicUsize>,
    drain: Drain,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        accepted.fetch_add(1, Ordering::Relaxed);
        let (tls, server) = (tls.clone(), server.clone());
        drain.spawn(async move {
            stream.set_nodelay(true).unwrap();
            let Ok(stream) = tls.accept(stream).await else { return };
            let holder = Holder::of_peer(stream.get_ref().1).unwrap();
            let node = holder.user.strip_prefix("system:node:").unwrap().to_owned();
            match stream.get_ref().1.alpn_protocol() {
                Some(OFFER) => server.take_offer(node, stream, (), std::future::pending()),
                _ => server.take(node, stream, (), std::future::pending()),
            }
        });
    }
}

/// A node's certificate.
pub fn issue(authority: &Authority, node: &str) -> Arc<LiveCertificate> {
    let user = format!("system:node:{node}");
    let subject = Subject { user: &user, group: Some("system:nodes"), names: &[node.to_owned()] };
    let validity = Validity::of(now(), std::time::Duration::from_secs(3600));
    LiveCertificate::of(&authority.issue(&subject, validity).unwrap()).unwrap()
}

/// Passes bytes on to `to`, until it is cut off: then it reads no more, and ends nothing.
pub async fn passage(to: SocketAddr, drain: &Drain) -> (SocketAddr, tokio_util::sync::CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let cut = tokio_util::sync::CancellationToken::new();
    let (cut_off, tasks) = (cut.clone(), drain.clone());
    drain.spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let cut_off = cut_off.clone();
            tasks.spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                cut_off.run_until_cancelled(tokio::io::copy_bidirectional(&mut near, &mut far)).await;
                std::future::pending::<()>().await;
            });
        }
    });
    (at, cut)
}

pub fn now() -> jiff::Timestamp {
    use wherry_base::Clock;
    wherry_base::SystemClock.now()
}
