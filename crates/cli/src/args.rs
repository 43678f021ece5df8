//! The verbs' flags, named as kubectl names them, and the way from them to a client.

mod change;
mod connect;
mod create;
mod masters;
mod read;
mod token;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use wherry_client::{Client, Https, Kubeconfig};

pub use change::{
    ChangeArgs, ChosenArgs, CordonArgs, DrainArgs, EditArgs, MetadataArgs, SetEnvArgs, SetResourcesArgs, SetVerb,
    TaintArgs,
};
pub use connect::{AttachArgs, CopyArgs, ExecArgs, PortForwardArgs, SortBy, TopNodesArgs, TopPodsArgs, TopVerb};
pub use create::{
    CreateArgs, DataArgs, DeploymentArgs, DryRun, ExposeArgs, Generator, IngressArgs, MakeArgs, PortsArgs, Restart,
    RunArgs, SecretKind, ServiceKind, ServiceType,
};
pub use masters::MastersVerb;
pub use read::{ApiResourcesArgs, DescribeArgs, EventsArgs, ExplainArgs, GetArgs, LogsArgs, Output, WaitArgs};
pub use token::{TokenCreateArgs, TokenDeleteArgs, TokenVerb};
pub use write::{
    ApplyArgs, Cascade, DeleteArgs, HistoryArgs, ImageVerb, PatchArgs, PatchType, RegistryArgs, RolloutArgs,
    RolloutVerb, ScaleArgs, SnapshotVerb, StatusArgs, UndoArgs,
};

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
    /// Create objects of manifests, or of a few words
    Create(CreateArgs),
    /// Run an image in a pod
    Run(RunArgs),
    /// Make a service for the pods of a deployment, replicaset, pod or service
    Expose(ExposeArgs),
    /// Show objects as a table, or as -o says
    Get(GetArgs),
    /// Show objects in full, and what happened to them
    Describe(DescribeArgs),
    /// Show what containers printed
    Logs(LogsArgs),
    /// Run a program in a container
    Exec(ExecArgs),
    /// Join a container's own program
    Attach(AttachArgs),
    /// Copy files and directories to and from containers that have tar
    Cp(CopyArgs),
    /// Make ports of a pod ports of this machine
    PortForward(PortForwardArgs),
    /// Show what is used of CPU and memory
    #[command(subcommand)]
    Top(TopVerb),
    /// Delete objects by name, label or manifest
    Delete(DeleteArgs),
    /// Set the number of replicas
    Scale(ScaleArgs),
    /// Follow, undo, pause or restart a deployment's rollout
    #[command(subcommand)]
    Rollout(RolloutVerb),
    /// Show what happened, oldest first
    Events(EventsArgs),
    /// Wait until objects are as wanted, or gone
    Wait(WaitArgs),
    /// Change objects' labels
    Label(MetadataArgs),
    /// Change objects' annotations
    Annotate(MetadataArgs),
    /// Change fields of one object
    Patch(PatchArgs),
    /// Change images, environment or resources of containers
    #[command(subcommand)]
    Set(SetVerb),
    /// Close nodes to new pods
    Cordon(CordonArgs),
    /// Open nodes to new pods
    Uncordon(CordonArgs),
    /// Close nodes to new pods, and evict those that they have
    Drain(DrainArgs),
    /// Keep pods off nodes that do not tolerate it
    Taint(TaintArgs),
    /// Change an object in your editor
    Edit(EditArgs),
    /// Show what kinds there are
    ApiResources(ApiResourcesArgs),
    /// Show what a kind's fields mean
    Explain(ExplainArgs),
    /// Show where the cluster is
    ClusterInfo(ClusterArgs),
    /// Make, list and delete the tokens by which machines join
    #[command(subcommand)]
    Token(TokenVerb),
    /// List and remove masters
    #[command(subcommand)]
    Masters(MastersVerb),
    /// Load, list and remove images in the cluster's registry
    #[command(subcommand)]
    Image(ImageVerb),
    /// Save the cluster's whole state to a file, or restore it
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
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

    /// A client of the cluster, which refuses what is written with a wrong field.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(Arc::new(Https::new(&self.load()?)?.strict())))
    }

    /// The namespace, or none where all are asked for.
    pub fn scope(&self, all_namespaces: bool) -> Option<&str> {
        (!all_namespaces).then_some(self.namespace.as_str())
    }
}

/// Reads `90s`, `5m`, `1h30m`, `250ms`, as Go writes durations; a bare `0` too.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration; write for example 90s, 5m or 1h30m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&at| at > 0).ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs).ok_or_else(wrong);
        total += match unit {
            "h" => seconds(3600)?,
            "m" => seconds(60)?,
            "s" => seconds(1)?,
            "ms" => Duration::from_millis(number),
            _ => return Err(wrong()),
        };
        rest = behind;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_go_writes_them() {
        let cases = [("90s", Some(90_000)), ("1h30m", Some(5_400_000)), ("250ms", Some(250)), ("0", Some(0))];
        let wrong = ["", "5", "s", "5x", "1m5", "-1s"].map(|text| (text, None));
        for (text, millis) in cases.into_iter().chain(wrong) {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
    }
}
