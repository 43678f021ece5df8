//! Flags of the verbs that change something.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{ChangeArgs, ClusterArgs, duration};

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

/// What becomes of the objects that a deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Cascade {
    /// They follow.
    #[default]
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// Flags of `delete`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  wherry delete pod/web-1\n  wherry delete pods -l app=web\n  wherry delete -f app.yaml\n  \
    wherry delete pods --all --now"
)]
pub struct DeleteArgs {
    /// RESOURCE NAME… or RESOURCE/NAME…; RESOURCE with -l or --all
    pub what: Vec<String>,
    /// The objects of these manifests
    #[arg(short = 'f', long = "filename", conflicts_with = "what")]
    pub files: Vec<PathBuf>,
    /// All objects with these labels
    #[arg(short = 'l', long, default_value = "")]
    pub selector: String,
    /// All objects of the resource
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// Seconds to end in
    #[arg(long)]
    pub grace_period: Option<i64>,
    /// Do not wait for graceful ends: the objects go at once
    #[arg(long)]
    pub force: bool,
    /// End at once, one second at most
    #[arg(long, conflicts_with_all = ["grace_period", "force"])]
    pub now: bool,
    /// What becomes of the objects that they own
    #[arg(long, value_enum, default_value_t)]
    pub cascade: Cascade,
    /// Whether to wait until they are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true",
        require_equals = true)]
    pub wait: bool,
    /// How long to wait at most; 0 for as long as it takes
    #[arg(long, default_value = "0", value_parser = duration)]
    pub timeout: Duration,
    /// It is no error if an object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
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
    /// Only where there are this many now
    #[arg(long)]
    pub current_replicas: Option<u32>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What of a rollout.
#[derive(Clone, Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  wherry rollout status deploy/myapp\n  wherry rollout undo deploy/myapp --to-revision 2"
)]
pub enum RolloutVerb {
    /// Wait until it is done
    Status(StatusArgs),
    /// Show the revisions, or one of them
    History(HistoryArgs),
    /// Go back to the revision before, or to one of one's choice
    Undo(UndoArgs),
    /// Replace all pods, as an update would
    Restart(ChangeArgs),
    /// Let changes wait
    Pause(ChangeArgs),
    /// Go on with what waits
    Resume(ChangeArgs),
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

/// Flags of `rollout status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Whose.
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// How long at most; 0 for as long as it takes
    #[arg(long, default_value = "0", value_parser = duration)]
    pub timeout: Duration,
    /// Whether to wait until it is done
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true)]
    pub watch: bool,
}

/// Flags of `rollout history`.
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// Whose.
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// Show this revision's template
    #[arg(long)]
    pub revision: Option<u64>,
}

/// Flags of `rollout undo`.
#[derive(Clone, Debug, Args)]
pub struct UndoArgs {
    /// Whose.
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// The revision to go back to (else the one before)
    #[arg(long)]
    pub to_revision: Option<u64>,
}

/// How a patch is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PatchType {
    /// Kubernetes' own: lists are merged by their items' names.
    #[default]
    Strategic,
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
}

/// Flags of `patch`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry patch deploy/myapp -p '{\"spec\": {\"paused\": true}}'\n  \
    wherry patch cm c --type json -p '[{\"op\": \"remove\", \"path\": \"/data/a\"}]'")]
pub struct PatchArgs {
    /// RESOURCE NAME or RESOURCE/NAME
    #[arg(required = true, num_args = 1..=2)]
    pub what: Vec<String>,
    /// The patch, as JSON or YAML
    #[arg(short, long)]
    pub patch: String,
    /// How it is meant
    #[arg(long = "type", value_enum, default_value_t)]
    pub kind: PatchType,
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

/// Verbs of `snapshot`.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotVerb {
    /// Write all objects to a file, while the cluster runs (but for Leases and Events)
    #[command(after_help = "Example:\n  wherry snapshot save monday.snapshot")]
    Save {
        /// The file to write
        file: PathBuf,
        /// Which cluster.
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Make the objects of a file the present ones: what is not in it is removed. Can be repeated
    Restore {
        /// The file to read
        file: PathBuf,
        /// Which cluster.
        #[command(flatten)]
        cluster: ClusterArgs,
    },
}

/// Which registry.
#[derive(Clone, Debug, Args)]
pub struct RegistryArgs {
    /// HOST:PORT of the registry (else it is where the API is)
    #[arg(long, env = "WHERRY_REGISTRY")]
    pub registry: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
