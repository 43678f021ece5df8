//! The verbs that a person types against a running cluster, for where kubectl is not installed.
//!
//! A pure client: everything goes through `wherry_client` and the image registry. Prints tables to stdout, hints to stderr.

mod apply;
mod args;
mod delete;
mod describe;
mod events;
mod get;
mod images;
mod logs;
mod objects;
mod rollout;
mod scale;

pub use apply::{Applied, apply_manifests, read_manifests};
pub use args::{ClusterArgs, Verb, default_data_dir};
pub use rollout::{RolloutState, rollout_state};

/// Carries out a verb.
pub async fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Apply(args) => apply::run(args).await,
        Verb::Get(args) => get::run(args).await,
        Verb::Describe(args) => describe::run(args).await,
        Verb::Logs(args) => logs::run(args).await,
        Verb::Delete(args) => delete::run(args).await,
        Verb::Scale(args) => scale::run(args).await,
        Verb::Rollout(verb) => rollout::run(verb).await,
        Verb::Events(args) => events::run(args).await,
        Verb::Image(verb) => images::run(verb).await,
    }
}
