//! The command line: flags, their environment variables and their defaults, for every role.

mod check;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

/// Runs pods of WASI modules with the semantics, and the API, of Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "wherry", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

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
    /// Start a node beside the master of the same data directory
    Node(NodeArgs),
    /// Run guests for the node that starts this process
    #[command(hide = true)]
    Sandbox(SandboxArgs),
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
    /// The node's name
    #[arg(long, env = "WHERRY_NODE_NAME", default_value = "wherry")]
    pub name: String,
    /// What every role takes.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// How to start a master.
#[derive(Clone, Debug, Args)]
pub struct MasterArgs {
    /// What every role takes.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// How to start a node.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  wherry master --data-dir /srv/wherry &\n  wherry node --data-dir /srv/wherry")]
pub struct NodeArgs {
    /// The node's name
    #[arg(long, env = "WHERRY_NODE_NAME", default_value = "wherry")]
    pub name: String,
    /// What every role takes.
    #[command(flatten)]
    pub common: CommonArgs,
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
    /// The addresses of all pods
    #[arg(long, env = "WHERRY_CLUSTER_CIDR", default_value = "10.128.0.0/10")]
    pub cluster_cidr: IpNet,
    /// The addresses of all Services
    #[arg(long, env = "WHERRY_SERVICE_CIDR", default_value = "10.96.0.0/12")]
    pub service_cidr: IpNet,
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
