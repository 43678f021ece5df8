//! `wherry master` and `wherry node`: each role in a process of its own, on one data directory or on two machines; `wherry
//! up` is both in one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use wherry_api::kinds::Node as NodeObject;
use wherry_apiserver::{Identity, RegistryConfig};
use wherry_base::{Backoff, Clock, Drain, SystemClock, Trigger};
use wherry_client::{Client, Event, Https, Kubeconfig, WatchOptions};
use wherry_pki::Authority;
use wherry_store::{Member, Start};

use crate::admin_kubeconfig::{AdminKubeconfig, KUBECONFIG};
use crate::cluster_info::ClusterInfo;
use crate::config::{ClusterFlags, CommonArgs, JoinFlags, MasterArgs, MasterJoinFlags, NodeArgs, NodeFlags};
use crate::credentials::{self, Credentials};
use crate::data_dir::{DataDir, Role};
use crate::foreign;
use crate::join::{self, Invitation};
use crate::join_masters::{self, Place};
use crate::listeners::{MasterListeners, MasterPorts, NodeListeners, master_ports, publish};
use crate::master::{self, Master};
use crate::node::{self, Node, Surroundings};
use crate::node_credentials::{NodeCredentials, Own};
use crate::renewal::Renewal;
use crate::servers::{self, Servers};

/// How long a node waits before it looks again whether the master knows it.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long a master may take to say what the cluster agrees on, where the node knows what it said before.
const INFO_MOST: Duration = Duration::from_secs(3);
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

/// A cluster, with a node in it.
struct Entered {
    surroundings: Surroundings,
    credentials: Arc<NodeCredentials>,
    upkeep: Upkeep,
}

/// What is to be done while a node is in a cluster.
enum Upkeep {
    /// Its masters are followed. Certificates are renewed by the authority, where it is beside the node, or else by requests.
    Own { servers: Servers, authority: Option<Arc<Authority>> },
    /// The serving certificate is asked for; the client's is the kubeconfig's.
    Other,
}

/// A node's place in a cluster.
struct Membership {
    /// Where the API is, by what it was told.
    given: String,
    /// All that it may be at.
    servers: Vec<String>,
    credentials: Arc<NodeCredentials>,
    /// Signs the node's certificates, where it is here.
    authority: Option<Arc<Authority>>,
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
        master.drain().vital().spawn(keep_master(renewal, kubeconfig, master.members(), Arc::clone(&self.clock)));
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

    fn other_cluster(&self, kubeconfig: &Path, flags: &JoinFlags, name: &str) -> anyhow::Result<Entered> {
        let (own, now) = (Own::new(name, self.address), self.clock.now());
        let (surroundings, credentials) = foreign::enter(kubeconfig, flags, &self.common, own, &self.data, now)?;
        Ok(Entered { surroundings, credentials, upkeep: Upkeep::Other })
    }

    /// Joins where the flags say so, or finds the master beside this node; waits for what the cluster agrees on.
    async fn own_cluster(&self, flags: &JoinFlags, name: &str) -> anyhow::Result<Entered> {
        let Membership { given, servers, credentials, authority } = self.membership(flags, name).await?;
        let https = || anyhow::Ok(Arc::new(Https::with_tls(&servers, credentials.client_tls()?)?));
        // Images have a connection to themselves, so that a large one holds up no Lease.
        let (api, images) = (https()?, https()?);
        let client = Client::new(Arc::clone(&api) as _);
        let info = cluster_info(&self.data, &client).await?;
        info.check(&self.common)?;
        let kept = authority.is_none().then(|| Arc::clone(&self.data));
        let servers = Servers { node: name.to_owned(), given, users: vec![api, Arc::clone(&images)], kept };
        let surroundings = Surroundings::of(info, client, images, &self.data);
        Ok(Entered { surroundings, credentials, upkeep: Upkeep::Own { servers, authority } })
    }

    /// Does what a cluster asks of a node all the time, until the drain.
    fn keep_up(&self, upkeep: Upkeep, credentials: &Arc<NodeCredentials>, client: &Client, drain: &Drain) {
        match upkeep {
            Upkeep::Own { servers, authority } => {
                servers.follow(client, drain);
                match authority {
                    Some(authority) => self.keep(credentials, authority, drain),
                    None => credentials.keep_by_requests(&self.data, client, &self.clock, drain),
                }
            }
            Upkeep::Other => credentials.keep_serving(&self.data, client, &self.clock, drain),
        }
    }

    /// Joins where the flags say so and the node has no certificate that is still good.
    async fn membership(&self, flags: &JoinFlags, name: &str) -> anyhow::Result<Membership> {
        let own = Own::new(name, self.address);
        let present = NodeCredentials::read(own.clone(), &self.data)?;
        let is_member = present.is_some_and(|present| present.are_valid(self.clock.now()));
        let has_joined = servers::remembered(&self.data)?.is_some();
        if let Some(url) = flags.join.as_deref().filter(|_| !is_member || !has_joined) {
            let token = flags.token.as_ref().context("--join needs --token: what `wherry token create` prints")?;
            join::join(Invitation { url, token }, &own, &self.common, &self.data, self.clock.as_ref()).await?;
        }
        match (servers::remembered(&self.data)?, NodeCredentials::read(own, &self.data)?) {
            (Some((given, servers)), Some(credentials)) => {
                Ok(Membership { given, servers, credentials, authority: None })
            }
            _ => self.beside_master(name).await,
        }
    }

    async fn beside_master(&self, name: &str) -> anyhow::Result<Membership> {
        // Before there are certificates, which the master makes and this process only adds to.
        first_master(&self.data).await?;
        let authority = Arc::new(credentials::authority(&self.data, self.clock.now())?);
        let servers = Kubeconfig::load(&self.data.join(KUBECONFIG))?.servers;
        let given = servers.first().cloned().context("DATA/kubeconfig names no server")?;
        Ok(Membership {
            given,
            servers,
            credentials: self.node_credentials(name, &authority)?,
            authority: Some(authority),
        })
    }
}

/// Renews a master's certificates, and keeps the kubeconfig in step with them and with the masters.
async fn keep_master(
    mut renewal: Renewal,
    kubeconfig: AdminKubeconfig,
    mut members: watch::Receiver<Vec<(Member, wherry_store::Role)>>,
    clock: Arc<dyn Clock>,
) {
    members.mark_changed();
    loop {
        tokio::select! {
            now = renewal.due() => {
                let members = members.borrow().clone();
                let renewed = kubeconfig.credentials.renew(now).and_then(|()| kubeconfig.write(&members, now));
                renewal.done(renewed).await;
            }
            changed = members.changed() => {
                if changed.is_err() {
                    return;
                }
                let members = members.borrow_and_update().clone();
                if let Err(error) = kubeconfig.write(&members, clock.now()) {
                    tracing::warn!(error = format!("{error:#}"), "the kubeconfig does not name the present masters");
                }
            }
        }
    }
}

/// Where the master of a data directory is; waits for one that has never been started.
async fn first_master(data: &DataDir) -> anyhow::Result<MasterPorts> {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut is_told = false;
    loop {
        if let Some(ports) = master_ports(data)? {
            return Ok(ports);
        }
        if !std::mem::replace(&mut is_told, true) {
            eprintln!("waiting for `wherry master` to be started with this --data-dir; or use --join");
        }
        tokio::time::sleep(backoff.fail()).await;
    }
}

/// What the cluster agrees on: as the master says, or as it said the last time.
async fn cluster_info(data: &DataDir, client: &Client) -> anyhow::Result<ClusterInfo> {
    let before = ClusterInfo::remembered(data)?;
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let most = if before.is_some() { INFO_MOST } else { Duration::MAX };
        let read = tokio::time::timeout(most, ClusterInfo::read(client)).await;
        match (read.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {most:?}"))), before) {
            (Ok(info), _) => {
                info.remember(data)?;
                return Ok(info);
            }
            (Err(error), Some(before)) => {
                tracing::warn!(error = format!("{error:#}"), "the node starts with what the master said the last time");
                return Ok(before);
            }
            (Err(error), None) => tracing::warn!(error = format!("{error:#}"), "the node waits for its master"),
        }
        tokio::time::sleep(backoff.fail()).await;
    }
}

/// Does its work, tells what went wrong in it, and resolves on SIGINT or SIGTERM; or with the reason `why` it cannot go on.
pub async fn until_stopped(
    work: impl Future<Output = anyhow::Result<()>>,
    why: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let work = async {
        if let Err(error) = work.await {
            eprintln!("error: {error:#}");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = work => Ok(()),
        () = stopped => {
            eprintln!("stopping; the pods come back at the next start");
            Ok(())
        }
        error = why => Err(error),
    }
}

/// Waits until a node is ready: the one of that name, or any.
pub async fn await_node(client: &Client, name: Option<&str>) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while let Err(error) = node_ready(client, name).await {
        tracing::debug!(%error, "the masters do not know a node yet");
        tokio::time::sleep(backoff.fail()).await;
    }
}

async fn node_ready(client: &Client, name: Option<&str>) -> anyhow::Result<()> {
    let fields = name.map(|name| format!("metadata.name={name}")).unwrap_or_default();
    let mut watch = client.all::<NodeObject>().watch(WatchOptions { fields, ..WatchOptions::default() }).await?;
    while let Some(event) = watch.next().await {
        if let Event::Applied(node) = event?
            && is_ready(&node)
        {
            return Ok(());
        }
    }
    anyhow::bail!("the watch of nodes ended")
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
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
