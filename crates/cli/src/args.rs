//! The verbs' flags, named as kubectl names them, and the way from them to a client.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use wherry_client::{Client, Kubeconfig};

/// Where a cluster's files are kept where nothing else is said.
pub fn default_data_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    home.join(".local/share/wherry")
}

/// The verbs.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Create or change the objects of manifests
    Apply(ApplyArgs),
    /// Show objects as a table
    Get(GetArgs),
    /// Show one object and its events
    Describe(DescribeArgs),
    /// Show what a container printed
    Logs(LogsArgs),
    /// Delete objects by name or manifest
    Delete(DeleteArgs),
    /// Set the number of replicas
    Scale(ScaleArgs),
    /// Follow, undo or restart a deployment's rollout
    #[command(subcommand)]
    Rollout(RolloutVerb),
    /// Show what happened, oldest first
    Events(EventsArgs),
    /// Load, list and remove images in the cluster's registry
    #[command(subcommand)]
    Image(ImageVerb),
}

/// Which cluster.
#[derive(Clone, Debug, Default, Args)]
pub struct ClusterArgs {
    /// The kubeconfig (else DATA/kubeconfig)
    #[arg(long, env = "KUBECONFIG", global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace
    #[arg(short, long, default_value = "default", global = true)]
    pub namespace: String,
}

impl ClusterArgs {
    /// The kubeconfig's contents.
    pub fn load(&self) -> anyhow::Result<Kubeconfig> {
        let path = self.kubeconfig.clone().unwrap_or_else(|| default_data_dir().join("kubeconfig"));
        Kubeconfig::load(&path)
            .with_context(|| format!("no cluster at {}: start one with `wherry up`, or set KUBECONFIG", path.display()))
    }

    /// A client of the cluster.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::from_kubeconfig(&self.load()?)?)
    }
}

/// Flags of `apply`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  wherry apply -f manifests/demo")]
pub struct ApplyArgs {
    /// Files or directories; `-` is standard input
    #[arg(short = 'f', long = "filename", required = true)]
    pub files: Vec<PathBuf>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How objects are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// `kind/name` lines.
    Name,
}

/// Flags of `get`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry get pods -A\n  wherry get deploy/myapp -o yaml")]
pub struct GetArgs {
    /// RESOURCE, RESOURCE NAME or RESOURCE/NAME
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// Over all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// A label selector
    #[arg(short = 'l', long, default_value = "")]
    pub selector: String,
    /// A field selector
    #[arg(long, default_value = "")]
    pub field_selector: String,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `describe`.
#[derive(Clone, Debug, Args)]
pub struct DescribeArgs {
    /// RESOURCE NAME or RESOURCE/NAME
    #[arg(required = true, num_args = 1..=2)]
    pub what: Vec<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `logs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  wherry logs -f myapp-6f4c-x7k2p -c log")]
pub struct LogsArgs {
    /// The pod
    pub pod: String,
    /// The container (else the pod's first)
    #[arg(short, long)]
    pub container: Option<String>,
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// The container before its last restart
    #[arg(short, long)]
    pub previous: bool,
    /// Only this many lines, from the end
    #[arg(long)]
    pub tail: Option<u64>,
    /// The time of each line
    #[arg(long)]
    pub timestamps: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `delete`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry delete pod/web-1\n  wherry delete -f app.yaml")]
pub struct DeleteArgs {
    /// RESOURCE NAME… or RESOURCE/NAME…
    pub what: Vec<String>,
    /// The objects of these manifests
    #[arg(short = 'f', long = "filename", conflicts_with = "what")]
    pub files: Vec<PathBuf>,
    /// Seconds to end in
    #[arg(long)]
    pub grace_period: Option<i64>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `scale`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  wherry scale deploy/myapp --replicas 8")]
pub struct ScaleArgs {
    /// RESOURCE NAME or RESOURCE/NAME
    #[arg(required = true, num_args = 1..=2)]
    pub what: Vec<String>,
    /// How many
    #[arg(long)]
    pub replicas: u32,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What of a rollout.
#[derive(Clone, Debug, Subcommand)]
pub enum RolloutVerb {
    /// Wait until it is done
    Status(RolloutArgs),
    /// Show the revisions
    History(RolloutArgs),
    /// Go back to the revision before
    Undo(RolloutArgs),
    /// Replace all pods, as an update would
    Restart(RolloutArgs),
}

/// Whose rollout.
#[derive(Clone, Debug, Args)]
pub struct RolloutArgs {
    /// deployment NAME or deployment/NAME
    #[arg(required = true, num_args = 1..=2)]
    pub what: Vec<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `events`.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// Over all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What of images.
#[derive(Clone, Debug, Subcommand)]
pub enum ImageVerb {
    /// Check a module and put it into the registry
    #[command(after_help = "Example:\n  wherry image load app.wasm myapp:v1")]
    Load {
        /// The module
        file: PathBuf,
        /// NAME:TAG
        name: String,
        /// Which registry.
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// List the images
    Ls {
        /// Which registry.
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Remove an image
    Rm {
        /// NAME:TAG
        name: String,
        /// Which registry.
        #[command(flatten)]
        registry: RegistryArgs,
    },
}

/// Which registry.
#[derive(Clone, Debug, Args)]
pub struct RegistryArgs {
    /// HOST:PORT of the registry (else what DATA/ports.json beside the kubeconfig says, else the API's host and port 5000)
    #[arg(long, env = "WHERRY_REGISTRY")]
    pub registry: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
