//! `wherry master` and `wherry node`: each role in a process of its own, on one data directory or on two machines; `wherry
//! up` is both in one.

mod entering;
mod waiting;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use wherry_apiserver::{Identity, RegistryConfig};
use wherry_base::{Clock, Drain, SystemClock, Trigger};
use wherry_pki::Authority;
use wherry_store::Start;

use crate::admin_kubeconfig::AdminKubeconfig;
use crate::cluster_info::ClusterInfo;
use crate::config::{ClusterFlags, CommonArgs, MasterArgs, MasterJoinFlags, NodeArgs, NodeFlags};
use crate::credentials::{self, Credentials};
use crate::data_dir::{DataDir, Role};
use crate::join_masters::{self, Place};
use crate::listeners::{MasterListeners, MasterPorts, NodeListeners, publish};
use crate::master::{self, Master};
use crate::node::{self, Node, Surroundings};
use crate::node_credentials::{NodeCredentials, Own};
use crate::renewal::Renewal;
use entering::Entered;
pub use waiting::{await_node, until_stopped};

/// How long a node waits before it looks again whether the master knows it.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long the renewal of certificates may take to end.
const STOP_MOST: Duration = Duration::from_secs(1);

/// What the roles of a process share.
pub struct Setting {
    common: CommonArgs,
    data: Arc<DataDir>,
    /// Where others reach this machine.
    address: IpAddr,
    clock: Arc<dyn Clock>,
}

/// Runs a master until SIGINT or SIGTERM.
pub async fn master(args: MasterArgs) -> anyhow::Result<()> {
    args.check()?;
    let mut setting = Setting::new(&args.common, &[Role::Master])?;
    let listeners = MasterListeners::bind(&args.common).await?;
    let ports = listeners.ports()?;
    let place = setting.enter(&args.join).await?;
    let credentials = setting.credentials(&args.name, &args.cluster)?;
    let member = AsMaster { name: &args.name, flags: &args.cluster, place, join: &args.join };
    let master = setting.start_master(member, &credentials, listeners).await?;
    eprintln!("ready for nodes: API on port {}", ports.api);
    let admin = master.client(Identity::admin());
    let ready = async {
        await_node(&admin, None).await;
        master.readiness.set(true);
        Ok(())
    };
    let ended = until_stopped(ready, master.removed()).await;
    master.stop().await;
    ended
}

/// Runs a node until SIGINT or SIGTERM: of the cluster that it joins or has joined, or else of the master of the same data
/// directory.
pub async fn node(args: NodeArgs) -> anyhow::Result<()> {
    args.check()?;
    let setting = Setting::new(&args.common, &[Role::Node])?;
    let listeners = NodeListeners::bind(&args.common).await?;
    let (ports, name) = (listeners.ports()?, args.node.name.as_str());
    let Entered { surroundings, credentials, upkeep } = match &args.join.kubeconfig {
        Some(kubeconfig) => setting.other_cluster(kubeconfig, &args.join, name)?,
        None => setting.own_cluster(&args.join, name).await?,
    };
    let client = surroundings.client.clone();
    let node = setting.start_node(&args.node, &credentials, surroundings, listeners).await?;
    let renewals = Trigger::new();
    setting.keep_up(upkeep, &credentials, &client, &renewals.drain());
    let ready = async {
        await_node(&client, Some(name)).await;
        eprintln!("ready: ingress on {} (https {})", ports.http, ports.https);
        Ok(())
    };
    let ended = until_stopped(ready, std::future::pending()).await;
    node.stop().await;
    renewals.stop(STOP_MOST).await;
    ended
}

/// What a master is started as.
pub struct AsMaster<'a> {
    /// Its name among the masters.
    pub name: &'a str,
    /// What every master takes.
    pub flags: &'a ClusterFlags,
    /// Its place in a cluster that it joins, or has joined.
    pub place: Option<Place>,
    /// How it joins.
    pub join: &'a MasterJoinFlags,
}

impl Setting {
    /// Takes the data directory for these roles.
    pub fn new(common: &CommonArgs, roles: &[Role]) -> anyhow::Result<Self> {
        let data = Arc::new(DataDir::open(&common.data_dir, roles)?);
        Ok(Self { common: common.clone(), data, address: reachable(common), clock: SystemClock::shared() })
    }

    /// Finds a master's place among others, whose ranges are its own from then on; none where it founds a cluster.
    pub async fn enter(&mut self, flags: &MasterJoinFlags) -> anyhow::Result<Option<Place>> {
        let place = join_masters::enter(flags, &self.common, &self.data, self.clock.now()).await?;
        if let Some(place) = &place {
            self.common.cluster_cidr = Some(place.info.cluster_cidr);
            self.common.service_cidr = Some(place.info.service_cidr);
        }
        Ok(place)
    }

    /// The data directory.
    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// A master's certificates, made anew.
    pub fn credentials(&self, name: &str, flags: &ClusterFlags) -> anyhow::Result<Arc<Credentials>> {
        let services = self.common.service_cidr.unwrap_or(RegistryConfig::SERVICE_CIDR);
        let first_service = services.hosts().next().context("--service-cidr is too small")?;
        let (life, now) = (flags.cluster_signing_duration, self.clock.now());
        Ok(Arc::new(Credentials::prepare(&self.data, name, self.address, first_service, life, now)?))
    }

    /// Starts a master, tells where it is, and has the others admit it where they have not yet.
    pub async fn start_master(
        &self,
        member: AsMaster<'_>,
        credentials: &Arc<Credentials>,
        listeners: MasterListeners,
    ) -> anyhow::Result<Master> {
        let AsMaster { name, flags, place, join } = member;
        let ports = listeners.ports()?;
        let advertise = SocketAddr::new(self.address, ports.api);
        let url = format!("https://{advertise}");
        let (info, clock) = (self.cluster_info(ports), Arc::clone(&self.clock));
        let (credentials_kept, data_kept) = (Arc::clone(credentials), Arc::clone(&self.data));
        let kubeconfig = AdminKubeconfig { credentials: credentials_kept, data: data_kept, server: url };
        kubeconfig.write(&[], clock.now())?;
        publish(&self.data, &ports)?;
        let MasterListeners { api, registry: images } = listeners;
        let data = self.data();
        let start = if place.is_some() { Start::Join } else { Start::Found };
        let parts = master::Parts { name, start, flags, info, data, credentials, clock, advertise, api, images };
        let master = Master::start(parts).await?;
        if let Some(place) = place.filter(|place| !place.is_member) {
            join_masters::admit(place, join, &master.member(), credentials, data).await?;
        }
        let renewal = Renewal::new("master", &credentials.server, &self.clock);
        master.drain().vital().spawn(kubeconfig.keep(renewal, master.members(), Arc::clone(&self.clock)));
        Ok(master)
    }

    /// What the cluster of the master here agrees on.
    pub fn cluster_info(&self, ports: MasterPorts) -> ClusterInfo {
        ClusterInfo::of(&self.common, SocketAddr::new(self.address, ports.registry))
    }

    /// The certificates of a node beside a master, by its authority.
    pub fn node_credentials(&self, name: &str, authority: &Authority) -> anyhow::Result<Arc<NodeCredentials>> {
        NodeCredentials::issue(Own::new(name, self.address), authority, credentials::LIFE, self.clock.now())
    }

    /// Renews a node's certificates by the authority beside it.
    pub fn keep(&self, credentials: &Arc<NodeCredentials>, authority: Arc<Authority>, drain: &Drain) {
        Arc::clone(credentials).keep(authority, credentials::LIFE, &self.clock, drain);
    }

    /// Starts a node, and tells where it is.
    pub async fn start_node(
        &self,
        flags: &NodeFlags,
        credentials: &NodeCredentials,
        surroundings: Surroundings,
        listeners: NodeListeners,
    ) -> anyhow::Result<Node> {
        publish(&self.data, &listeners.ports()?)?;
        let NodeListeners { http, https, kubelet } = listeners;
        let parts = node::Parts {
            args: &self.common,
            flags,
            surroundings,
            data: &self.data,
            clock: Arc::clone(&self.clock),
            tls: credentials.server_tls()?,
            peers: credentials.client_tls()?,
            address: self.address,
            kubelet,
            http,
            https,
        };
        Node::start(parts).await
    }
}

/// The address that other machines use: as the flags say, or else that of the default route.
fn reachable(common: &CommonArgs) -> IpAddr {
    let bound = common.advertise_address.unwrap_or(common.bind_address);
    if bound.is_unspecified() { default_route().unwrap_or(Ipv4Addr::LOCALHOST.into()) } else { bound }
}

/// The address that the kernel would send from. Connecting a datagram socket sends nothing.
fn default_route() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
