//! Flags of `token`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{ClusterArgs, duration};

/// Tokens by which machines join.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Example:\n  wherry token create --ttl 1h --description 'for the rack in the cellar'")]
pub enum TokenVerb {
    /// Make a token and print it, for `--token` of the machine that joins
    Create(TokenCreateArgs),
    /// Show the tokens, without their secrets
    List(ClusterArgs),
    /// Make tokens useless, by what is before their first dot
    Delete(TokenDeleteArgs),
}

/// Flags of `token create`.
#[derive(Clone, Debug, Args)]
pub struct TokenCreateArgs {
    /// How long the token can be used; 0 for ever
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub ttl: Duration,
    /// For a master that joins: the token opens the keys of the whole cluster. Others are for nodes
    #[arg(long)]
    pub master: bool,
    /// What it is for
    #[arg(long, default_value = "")]
    pub description: String,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `token delete`.
#[derive(Clone, Debug, Args)]
pub struct TokenDeleteArgs {
    /// The tokens, or what is before their first dot
    #[arg(required = true)]
    pub tokens: Vec<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
