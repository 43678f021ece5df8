//! Flags of the verbs that make objects out of a few words.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::change::key_value;
use super::{ClusterArgs, Output};

/// How far an object goes that is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Into the cluster.
    #[default]
    None,
    /// It is only printed.
    Client,
}

/// What becomes of an object that is made.
#[derive(Clone, Debug, Args)]
pub struct MakeArgs {
    /// `client`: only print what would be sent
    #[arg(long, value_enum, default_value_t, global = true)]
    pub dry_run: DryRun,
    /// yaml, json, name or jsonpath=TEMPLATE
    #[arg(short, long, value_parser = Output::parse, global = true)]
    pub output: Option<Output>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `create`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  wherry create -f app.yaml\n  wherry create deployment app --image app:v1 --port 8080\n  \
    wherry create configmap c --from-literal a=1 --from-file app.conf --dry-run=client -o yaml"
)]
pub struct CreateArgs {
    /// Files or directories; `-` is standard input
    #[arg(short = 'f', long = "filename")]
    pub files: Vec<PathBuf>,
    /// What, where no file says so.
    #[command(subcommand)]
    pub what: Option<Generator>,
    /// What becomes of it.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// What can be made of a few words.
#[derive(Clone, Debug, Subcommand)]
pub enum Generator {
    /// A deployment of one image or several
    #[command(visible_alias = "deploy")]
    Deployment(DeploymentArgs),
    /// A configmap of literals and files
    #[command(visible_alias = "cm")]
    Configmap(DataArgs),
    /// A secret
    #[command(subcommand)]
    Secret(SecretKind),
    /// A namespace
    #[command(visible_alias = "ns")]
    Namespace {
        /// Its name
        name: String,
    },
    /// A service account
    #[command(visible_alias = "sa")]
    Serviceaccount {
        /// Its name
        name: String,
    },
    /// A service
    #[command(subcommand, visible_alias = "svc")]
    Service(ServiceKind),
    /// An ingress
    #[command(visible_alias = "ing")]
    Ingress(IngressArgs),
}

/// Flags of `create deployment`.
#[derive(Clone, Debug, Args)]
pub struct DeploymentArgs {
    /// Its name
    pub name: String,
    /// The image; again for a container more
    #[arg(long = "image", required = true)]
    pub images: Vec<String>,
    /// How many pods
    #[arg(long, short, default_value_t = 1)]
    pub replicas: u32,
    /// The port that the first container listens on
    #[arg(long)]
    pub port: Option<u16>,
    /// What to run instead of what the image says
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// Flags of `create configmap`.
#[derive(Clone, Debug, Args)]
pub struct DataArgs {
    /// Its name
    pub name: String,
    /// KEY=VALUE
    #[arg(long = "from-literal", value_parser = key_value)]
    pub literals: Vec<(String, String)>,
    /// A file, KEY=FILE, or a directory for all files in it
    #[arg(long = "from-file")]
    pub files: Vec<String>,
}

/// Which secret.
#[derive(Clone, Debug, Subcommand)]
pub enum SecretKind {
    /// Of literals and files
    Generic {
        /// What it holds.
        #[command(flatten)]
        data: DataArgs,
        /// Its type (else Opaque)
        #[arg(long = "type")]
        kind: Option<String>,
    },
    /// Of a certificate and its key
    Tls {
        /// Its name
        name: String,
        /// The certificate, as PEM
        #[arg(long)]
        cert: PathBuf,
        /// The key, as PEM
        #[arg(long)]
        key: PathBuf,
    },
}

/// Which service.
#[derive(Clone, Debug, Subcommand)]
pub enum ServiceKind {
    /// With an address inside the cluster
    Clusterip {
        /// Name and ports.
        #[command(flatten)]
        ports: PortsArgs,
        /// The address; None for a headless service
        #[arg(long)]
        clusterip: Option<String>,
    },
    /// With a port of every node
    Nodeport {
        /// Name and ports.
        #[command(flatten)]
        ports: PortsArgs,
        /// The node's port (else a free one)
        #[arg(long)]
        node_port: Option<u16>,
    },
    /// Another name for something outside
    Externalname {
        /// Name and ports.
        #[command(flatten)]
        ports: PortsArgs,
        /// What it stands for
        #[arg(long)]
        external_name: String,
    },
}

/// A service's name and ports.
#[derive(Clone, Debug, Args)]
pub struct PortsArgs {
    /// Its name; it selects pods with the label app=NAME
    pub name: String,
    /// PORT or PORT:TARGET
    #[arg(long, value_delimiter = ',')]
    pub tcp: Vec<String>,
}

/// Flags of `create ingress`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry create ingress in --rule 'app.localhost/*=app:80'\n  \
    wherry create ingress in --rule 'app.localhost/x=app:http,tls=cert' --default-backend other:80")]
pub struct IngressArgs {
    /// Its name
    pub name: String,
    /// HOST/PATH=SERVICE:PORT[,tls[=SECRET]]; a path that ends in * matches all below it
    #[arg(long = "rule", required_unless_present = "default_backend")]
    pub rules: Vec<String>,
    /// SERVICE:PORT for what no rule matches
    #[arg(long)]
    pub default_backend: Option<String>,
    /// Its ingress class
    #[arg(long)]
    pub class: Option<String>,
    /// KEY=VALUE
    #[arg(long = "annotation", value_parser = key_value)]
    pub annotations: Vec<(String, String)>,
}

/// When containers are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Restart {
    /// When they end.
    Always,
    /// When they fail.
    OnFailure,
    /// Never.
    Never,
}

/// Flags of `run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry run one --image hello:v1 --port 8080\n  \
    wherry run job --image batch:v1 --restart Never --env A=b -- echo done")]
pub struct RunArgs {
    /// The pod's name
    pub name: String,
    /// Its image
    #[arg(long)]
    pub image: String,
    /// The port that it listens on
    #[arg(long)]
    pub port: Option<u16>,
    /// Its labels (else run=NAME)
    #[arg(short, long, value_delimiter = ',', value_parser = key_value)]
    pub labels: Vec<(String, String)>,
    /// KEY=VALUE of its environment
    #[arg(long, value_parser = key_value)]
    pub env: Vec<(String, String)>,
    /// When it is started again
    #[arg(long, value_enum, ignore_case = true, default_value = "Always")]
    pub restart: Restart,
    /// When its image is fetched
    #[arg(long)]
    pub image_pull_policy: Option<String>,
    /// What follows `--` stands for the image's command, not for its arguments
    #[arg(long)]
    pub command: bool,
    /// The arguments
    #[arg(last = true)]
    pub arguments: Vec<String>,
    /// What becomes of it.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// Which kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceType {
    /// With an address inside the cluster.
    #[value(name = "ClusterIP")]
    ClusterIp,
    /// With a port of every node.
    #[value(name = "NodePort")]
    NodePort,
}

/// Flags of `expose`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  wherry expose deployment app --port 80 --target-port 8080")]
pub struct ExposeArgs {
    /// RESOURCE NAME or RESOURCE/NAME of a deployment, replicaset, pod or service
    #[arg(required = true, num_args = 1..=2)]
    pub what: Vec<String>,
    /// The service's ports (else those that the containers name)
    #[arg(long, value_delimiter = ',')]
    pub port: Vec<u16>,
    /// The containers' port, number or name (else the same)
    #[arg(long)]
    pub target_port: Option<String>,
    /// TCP or UDP (else what the containers name)
    #[arg(long)]
    pub protocol: Option<String>,
    /// The service's name (else the object's)
    #[arg(long)]
    pub name: Option<String>,
    /// Which kind
    #[arg(long = "type", value_enum)]
    pub kind: Option<ServiceType>,
    /// Its address; None for a headless service
    #[arg(long)]
    pub cluster_ip: Option<String>,
    /// Which pods (else those of the object)
    #[arg(long, value_delimiter = ',', value_parser = key_value)]
    pub selector: Vec<(String, String)>,
    /// The service's labels (else the object's)
    #[arg(short, long, value_delimiter = ',', value_parser = key_value)]
    pub labels: Vec<(String, String)>,
    /// What becomes of it.
    #[command(flatten)]
    pub make: MakeArgs,
}
