//! Flags of the verbs that change fields of objects.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{ClusterArgs, duration};

/// Which objects, where they are not named.
#[derive(Clone, Debug, Args)]
pub struct ChosenArgs {
    /// All objects with these labels
    #[arg(short = 'l', long, default_value = "")]
    pub selector: String,
    /// All objects of the resource
    #[arg(long)]
    pub all: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `label` and `annotate`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  wherry label pod/web-1 tier=front old-\n  wherry annotate deploy myapp note='by hand'"
)]
pub struct MetadataArgs {
    /// RESOURCE NAME… or RESOURCE/NAME…, then KEY=VALUE to set and KEY- to remove
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// Change a key that has another value
    #[arg(long)]
    pub overwrite: bool,
    /// Which objects.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

/// What of containers.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:\n  wherry set image deploy/myapp myapp=myapp:v2\n  \
    wherry set env deploy/myapp COLOUR=red OLD-\n  wherry set resources deploy/myapp --limits cpu=200m,memory=64Mi")]
pub enum SetVerb {
    /// Their images, as CONTAINER=IMAGE; `*` for all containers
    Image(ChangeArgs),
    /// Their environment, as NAME=VALUE to set and NAME- to remove
    Env(SetEnvArgs),
    /// Their requests and limits
    Resources(SetResourcesArgs),
}

/// Flags of `set image`, and of `rollout pause`, `resume` and `restart`.
#[derive(Clone, Debug, Args)]
pub struct ChangeArgs {
    /// RESOURCE NAME… or RESOURCE/NAME…; for `set image` then CONTAINER=IMAGE
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// Which objects.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

/// Flags of `set env`.
#[derive(Clone, Debug, Args)]
pub struct SetEnvArgs {
    /// RESOURCE NAME… or RESOURCE/NAME…, then NAME=VALUE to set and NAME- to remove
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// Which container; `*` for all
    #[arg(short, long, default_value = "*")]
    pub containers: String,
    /// Only show the variables
    #[arg(long)]
    pub list: bool,
    /// Which objects.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

/// Flags of `set resources`.
#[derive(Clone, Debug, Args)]
pub struct SetResourcesArgs {
    /// RESOURCE NAME… or RESOURCE/NAME…
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// Which container; `*` for all
    #[arg(short, long, default_value = "*")]
    pub containers: String,
    /// The most they get, such as cpu=200m,memory=64Mi
    #[arg(long, value_delimiter = ',', value_parser = key_value)]
    pub limits: Vec<(String, String)>,
    /// What is set aside for them, such as cpu=100m,memory=32Mi
    #[arg(long, value_delimiter = ',', value_parser = key_value)]
    pub requests: Vec<(String, String)>,
    /// Which objects.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

/// Flags of `cordon` and `uncordon`.
#[derive(Clone, Debug, Args)]
pub struct CordonArgs {
    /// The nodes
    #[arg(required_unless_present_any = ["selector", "all"])]
    pub nodes: Vec<String>,
    /// Which objects.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

impl CordonArgs {
    /// For one node.
    pub fn of(node: &str, cluster: &ClusterArgs) -> Self {
        let chosen = ChosenArgs { selector: String::new(), all: false, cluster: cluster.clone() };
        Self { nodes: vec![node.to_owned()], chosen }
    }
}

/// Flags of `drain`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  wherry drain n2 --delete-emptydir-data --timeout 5m\n  wherry uncordon n2")]
pub struct DrainArgs {
    /// The nodes
    #[arg(required = true)]
    pub nodes: Vec<String>,
    /// Also evict pods that nobody makes anew
    #[arg(long)]
    pub force: bool,
    /// Leave the pods of DaemonSets where they are
    #[arg(long)]
    pub ignore_daemonsets: bool,
    /// Also evict pods with emptyDir volumes, whose content is lost
    #[arg(long)]
    pub delete_emptydir_data: bool,
    /// Seconds that each pod has to end (else what it says itself)
    #[arg(long)]
    pub grace_period: Option<i64>,
    /// Give up after this; 0 never
    #[arg(long, default_value = "0", value_parser = duration)]
    pub timeout: Duration,
    /// Only pods with these labels
    #[arg(long, default_value = "")]
    pub pod_selector: String,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `taint`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry taint node n1 disk=slow:NoSchedule\n  wherry taint node n1 disk-\n  \
    wherry taint nodes --all gone:NoExecute-")]
pub struct TaintArgs {
    /// node NAME…, then KEY=VALUE:EFFECT to set, KEY- or KEY:EFFECT- to remove
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// Change a taint that has another value
    #[arg(long)]
    pub overwrite: bool,
    /// Which objects.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

/// Flags of `edit`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  KUBE_EDITOR=nano wherry edit deploy/myapp")]
pub struct EditArgs {
    /// RESOURCE NAME… or RESOURCE/NAME…
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Reads `KEY=VALUE`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
