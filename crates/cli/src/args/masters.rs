//! Flags of `masters`.

use clap::{Args, Subcommand};

use super::ClusterArgs;

const EXAMPLES: &str = "Examples:
  wherry masters list
  wherry masters remove b
  wherry master --name d --join URL --token T --replace b      a new master in the place of another

A majority that is lost for good is replaced by one master: see `wherry restore-alone`.";

/// Verbs of `masters`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum MastersVerb {
    /// Show the masters
    List(ClusterArgs),
    /// Remove a master for good, alive or not, where the others can go on without it
    Remove(MasterArgs),
}

/// Which master.
#[derive(Clone, Debug, Args)]
pub struct MasterArgs {
    /// Its name, or its id
    pub name: String,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
