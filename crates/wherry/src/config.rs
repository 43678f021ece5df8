//! The command line: flags, their environment variables and their defaults, for every role.

mod check;
mod failure;
mod images;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use wherry_api::well_known::{BEHIND_NAT, ZONE};
use wherry_apiserver::RegistryConfig;
use wherry_docker::EngineChoice;
use wherry_pki::JoinToken;

pub use failure::FailureFlags;
pub use images::ImageFlags;

/// Runs pods of WASI modules with the semantics, and the API, of Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "wherry", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const NODE_EXAMPLES: &str = "Examples:
  wherry node --name n2 --join https://MASTER:6443 --token \"$(ssh MASTER wherry token create)\"
  wherry node --data-dir /srv/wherry                beside a master of that directory
  wherry node --name n2 --kubeconfig kubelet.conf   in another Kubernetes cluster";

const MASTER_EXAMPLES: &str = "Examples:
  wherry master --bind-address 10.0.0.1
  wherry master --name b --join https://10.0.0.1:6443 --token \"$(ssh 10.0.0.1 wherry token create --master)\"";

const EXAMPLES: &str = "Examples:
  wherry up --demo                                  a cluster with two example apps
  wherry image load app.wasm myapp:v1               an image into the running cluster
  wherry apply -f app.yaml                          or kubectl, with the printed kubeconfig";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a master and a node here
    Up(UpArgs),
    /// Start a master here, for nodes beside it
    Master(MasterArgs),
    /// Start a node, of a cluster that it joins or of the master of the same data directory
    Node(NodeArgs),
    /// Make a master the whole cluster, for when the majority of the masters is lost for good
    RestoreAlone(RestoreAloneArgs),
    /// Run guests for the node that starts this process
    #[command(hide = true)]
    Sandbox(SandboxArgs),
    /// Compile a module for the node that starts this process
    #[command(hide = true)]
    Compile(CompileArgs),
    /// A verb of a person's, against a running cluster
    #[command(flatten)]
    Person(wherry_cli::Verb),
}

/// How to start a master and a node.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  wherry up -f manifests/demo\n  export KUBECONFIG=~/.local/share/wherry/kubeconfig")]
pub struct UpArgs {
    /// Load the example images, apply the demo, and show it becoming ready
    #[arg(long)]
    pub demo: bool,
    /// Apply these manifests (files or directories) once the API answers
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What every master takes.
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// What every node takes.
    #[command(flatten)]
    pub node: NodeFlags,
    /// How to become one of several masters.
    #[command(flatten)]
    pub join: MasterJoinFlags,
    /// What every role takes.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// How to start a master.
#[derive(Clone, Debug, Args)]
#[command(after_help = MASTER_EXAMPLES)]
pub struct MasterArgs {
    /// The master's name among the masters
    #[arg(long, env = "WHERRY_MASTER_NAME", default_value = "wherry")]
    pub name: String,
    /// What every master takes.
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// How to become one of several masters.
    #[command(flatten)]
    pub join: MasterJoinFlags,
    /// What every role takes.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What a master decides for its whole cluster.
#[derive(Clone, Debug, Args)]
pub struct ClusterFlags {
    /// The part of --cluster-cidr that one node has, as the length of its prefix
    #[arg(long, env = "WHERRY_NODE_CIDR_MASK_SIZE", default_value_t = RegistryConfig::NODE_PREFIX)]
    pub node_cidr_mask_size: u8,
    /// How long the certificates of masters and nodes are valid; they are renewed at two thirds of it
    #[arg(long, env = "WHERRY_CLUSTER_SIGNING_DURATION", default_value = "8760h", value_parser = wherry_cli::duration)]
    pub cluster_signing_duration: Duration,
    /// What becomes of nodes that fall silent.
    #[command(flatten)]
    pub failure: FailureFlags,
}

/// What a node says of itself.
#[derive(Clone, Debug, Args)]
pub struct NodeFlags {
    /// The node's name
    #[arg(long, env = "WHERRY_NODE_NAME", default_value = "wherry")]
    pub name: String,
    /// The zone that the node is in: its label topology.kubernetes.io/zone
    #[arg(long, env = "WHERRY_ZONE")]
    pub zone: Option<String>,
    /// Others cannot connect to this node: it connects to them
    #[arg(long, env = "WHERRY_BEHIND_NAT")]
    pub behind_nat: bool,
    /// The container engine that runs Linux images: auto (DOCKER_HOST, or where Docker and Podman usually listen), off, or its socket
    #[arg(long, env = "WHERRY_DOCKER", value_name = "auto|off|SOCKET", default_value = "auto")]
    pub docker: EngineChoice,
    /// When images go that nobody uses.
    #[command(flatten)]
    pub images: ImageFlags,
    /// Further labels of the node
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
}

impl NodeFlags {
    /// The labels that the flags name.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let zone = self.zone.iter().map(|zone| (ZONE.to_owned(), zone.clone()));
        let behind_nat = self.behind_nat.then(|| (BEHIND_NAT.to_owned(), "true".to_owned()));
        self.labels.iter().cloned().chain(zone).chain(behind_nat).collect()
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is no label; write KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// How to start a node.
#[derive(Clone, Debug, Args)]
#[command(after_help = NODE_EXAMPLES)]
pub struct NodeArgs {
    /// What every node takes.
    #[command(flatten)]
    pub node: NodeFlags,
    /// How to enter a cluster.
    #[command(flatten)]
    pub join: JoinFlags,
    /// What every role takes.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// How to enter a cluster whose master is elsewhere.
#[derive(Clone, Debug, Args)]
pub struct JoinFlags {
    /// The API of the cluster to join, https://HOST:PORT (else a master of the same data directory is waited for)
    #[arg(long, env = "WHERRY_JOIN", value_name = "URL")]
    pub join: Option<String>,
    /// What `wherry token create` printed; of use at the first start only
    #[arg(long, env = "WHERRY_TOKEN", hide_env_values = true)]
    pub token: Option<JoinToken>,
    /// Join another Kubernetes cluster as its kubelets do, with the credentials of this kubeconfig (docs/kubernetes.md)
    #[arg(long, env = "WHERRY_KUBECONFIG", value_name = "FILE", conflicts_with_all = ["join", "token"])]
    pub kubeconfig: Option<PathBuf>,
    /// The addresses of this node's pods, where that cluster gives its Node none
    #[arg(long, env = "WHERRY_POD_CIDR", requires = "kubeconfig")]
    pub pod_cidr: Option<IpNet>,
}

/// How a master enters a cluster whose masters are elsewhere.
#[derive(Clone, Debug, Default, Args)]
pub struct MasterJoinFlags {
    /// The API of the cluster whose masters this one joins, https://HOST:PORT
    #[arg(long, env = "WHERRY_JOIN", value_name = "URL")]
    pub join: Option<String>,
    /// What `wherry token create --master` printed; of use at the first start only
    #[arg(long, env = "WHERRY_TOKEN", hide_env_values = true)]
    pub token: Option<JoinToken>,
    /// The master in whose place this one comes
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub replace: String,
}

/// How to make a master the whole cluster.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The master must not run. The others' data is of no use any more: they join anew, with an empty one."
)]
pub struct RestoreAloneArgs {
    /// The data directory of the master
    #[arg(long, env = "WHERRY_DATA_DIR", default_value_os_t = wherry_cli::default_data_dir())]
    pub data_dir: PathBuf,
}

/// How a node starts a sandbox.
#[derive(Clone, Debug, Args)]
pub struct SandboxArgs {
    /// The sandbox's name, for those who look at the processes of the machine
    pub name: String,
    /// The user that it becomes
    #[arg(long)]
    pub user: Option<u32>,
    /// The directories that it may read
    #[arg(long)]
    pub readable: Vec<PathBuf>,
    /// The directories that it may write, too
    #[arg(long)]
    pub writable: Vec<PathBuf>,
}

/// How a node has a module compiled.
#[derive(Clone, Debug, Args)]
pub struct CompileArgs {
    /// The user that it becomes
    #[arg(long)]
    pub user: Option<u32>,
    /// The code counts no epochs, at which it would yield
    #[arg(long)]
    pub without_epochs: bool,
}

/// Where modules run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    /// In a process for each namespace, as an unprivileged user, confined to its pods.
    Namespace,
    /// In the node's process: for one trusted tenant, and the highest speed.
    Shared,
}

/// The flags that every role takes.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Where everything that must survive a restart is kept
    #[arg(long, env = "WHERRY_DATA_DIR", default_value_os_t = wherry_cli::default_data_dir())]
    pub data_dir: PathBuf,
    /// The address that all ports are bound to
    #[arg(long, env = "WHERRY_BIND_ADDRESS", default_value = "127.0.0.1")]
    pub bind_address: IpAddr,
    /// The address that other machines reach this one at (else --bind-address; else that of the default route)
    #[arg(long, env = "WHERRY_ADVERTISE_ADDRESS")]
    pub advertise_address: Option<IpAddr>,
    /// The API's port (0: a free one, see DATA/ports.json)
    #[arg(long, env = "WHERRY_API_PORT", default_value_t = 6443)]
    pub api_port: u16,
    /// The ingress' port for http
    #[arg(long, env = "WHERRY_HTTP_PORT", default_value_t = 8080)]
    pub http_port: u16,
    /// The ingress' port for https
    #[arg(long, env = "WHERRY_HTTPS_PORT", default_value_t = 8443)]
    pub https_port: u16,
    /// The node's port for the API server (logs)
    #[arg(long, env = "WHERRY_KUBELET_PORT", default_value_t = 10250)]
    pub kubelet_port: u16,
    /// The image registry's port
    #[arg(long, env = "WHERRY_REGISTRY_PORT", default_value_t = 5000)]
    pub registry_port: u16,
    /// The addresses of all pods (the master says, and is 10.128.0.0/10 where nobody does)
    #[arg(long, env = "WHERRY_CLUSTER_CIDR")]
    pub cluster_cidr: Option<IpNet>,
    /// The addresses of all Services (the master says, and is 10.96.0.0/12 where nobody does)
    #[arg(long, env = "WHERRY_SERVICE_CIDR")]
    pub service_cidr: Option<IpNet>,
    /// Where modules run (pods of class wasm-isolated have a process to themselves in any case)
    #[arg(long, env = "WHERRY_ISOLATION", value_enum, default_value_t = Isolation::Namespace)]
    pub isolation: Isolation,
    /// How log lines look
    #[arg(long, env = "WHERRY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// For a program: one JSON object a line.
    Json,
}
