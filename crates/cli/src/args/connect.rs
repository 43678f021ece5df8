//! Flags of the verbs that connect to containers, and of `top`.

use std::net::{IpAddr, Ipv4Addr};

use clap::{Args, Subcommand, ValueEnum};

use super::ClusterArgs;

/// Flags of `exec`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry exec db-0 -- pg_dump app\n  wherry exec -it deploy/web -c helper -- sh")]
pub struct ExecArgs {
    /// Where, and how.
    #[command(flatten)]
    pub at: AttachArgs,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Flags of `attach`.
#[derive(Clone, Debug, Args)]
pub struct AttachArgs {
    /// The pod, or deployment/NAME and so on for one of its pods
    pub what: String,
    /// The container (else the pod's default one)
    #[arg(short, long)]
    pub container: Option<String>,
    /// Pass stdin to the container
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Stdin is a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Print only what comes from the container
    #[arg(short, long)]
    pub quiet: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `cp`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  wherry cp dump.sql db-0:/tmp/dump.sql\n  wherry cp prod/db-0:/var/log ./logs -c db"
)]
pub struct CopyArgs {
    /// What: PATH, POD:PATH or NAMESPACE/POD:PATH
    pub from: String,
    /// Where to, likewise
    pub to: String,
    /// The container (else the pod's default one)
    #[arg(short, long)]
    pub container: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `port-forward`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry port-forward pod/web 8080:80\n  wherry port-forward svc/db 5432")]
pub struct PortForwardArgs {
    /// The pod, or service/NAME, deployment/NAME and so on for one of its pods
    pub what: String,
    /// [LOCAL:]REMOTE; without LOCAL the same port, and a free one where it is empty
    #[arg(required = true)]
    pub ports: Vec<String>,
    /// The addresses to listen at
    #[arg(long, value_delimiter = ',', default_values_t = [IpAddr::V4(Ipv4Addr::LOCALHOST)])]
    pub address: Vec<IpAddr>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What `top` shows.
#[derive(Clone, Debug, Subcommand)]
pub enum TopVerb {
    /// What nodes use of CPU and memory
    #[command(visible_aliases = ["nodes", "no"])]
    Node(TopNodesArgs),
    /// What pods use of CPU and memory
    #[command(visible_aliases = ["pods", "po"])]
    Pod(TopPodsArgs),
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SortBy {
    /// Who uses most of the CPU.
    Cpu,
    /// Who uses most of the memory.
    Memory,
}

/// Flags of `top node`.
#[derive(Clone, Debug, Args)]
pub struct TopNodesArgs {
    /// Only this node
    pub name: Option<String>,
    /// A label selector
    #[arg(short = 'l', long, default_value = "", conflicts_with = "name")]
    pub selector: String,
    /// cpu or memory
    #[arg(long)]
    pub sort_by: Option<SortBy>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `top pod`.
#[derive(Clone, Debug, Args)]
pub struct TopPodsArgs {
    /// Only this pod
    pub name: Option<String>,
    /// A label selector
    #[arg(short = 'l', long, default_value = "", conflicts_with = "name")]
    pub selector: String,
    /// Over all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Each container for itself
    #[arg(long)]
    pub containers: bool,
    /// cpu or memory
    #[arg(long)]
    pub sort_by: Option<SortBy>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
