//! The verbs that a person types against a running cluster, for where kubectl is not installed.
//!
//! A pure client: everything goes through `wherry_client` and the image registry. Prints tables to stdout, hints to stderr.

#[macro_use]
mod say;

mod apply;
mod args;
mod change;
mod cluster;
mod command;
mod copy;
mod create;
mod delete;
mod describe;
mod drain;
mod edit;
mod events;
mod explain;
mod forward;
mod generate;
mod get;
mod grid;
mod images;
mod layer;
mod logs;
mod masters;
mod metadata;
mod node;
mod objects;
mod patch;
mod pods;
mod rollout;
mod scale;
mod set;
mod snapshot;
mod template;
mod terminal;
mod token;
mod top;
mod wait;

pub use apply::{Applied, apply_manifests, read_manifests};
pub use args::{ClusterArgs, Verb, default_data_dir, duration};
pub use rollout::{RolloutState, rollout_state};
pub use say::error_line;

/// Carries out a verb.
pub async fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Apply(args) => apply::run(args).await,
        Verb::Create(args) => create::create(args).await,
        Verb::Run(args) => create::run(args).await,
        Verb::Expose(args) => create::expose(args).await,
        Verb::Get(args) => get::run(args).await,
        Verb::Describe(args) => describe::run(args).await,
        Verb::Logs(args) => logs::run(args).await,
        Verb::Exec(args) => command::exec(args).await,
        Verb::Attach(args) => command::attach(args).await,
        Verb::Cp(args) => copy::run(args).await,
        Verb::PortForward(args) => forward::run(args).await,
        Verb::Top(verb) => top::run(verb).await,
        Verb::Delete(args) => delete::run(args).await,
        Verb::Scale(args) => scale::run(args).await,
        Verb::Rollout(verb) => rollout::run(verb).await,
        Verb::Events(args) => events::run(args).await,
        Verb::Wait(args) => wait::run(args).await,
        Verb::Label(args) => metadata::run(args, metadata::Field::Labels).await,
        Verb::Annotate(args) => metadata::run(args, metadata::Field::Annotations).await,
        Verb::Patch(args) => patch::run(args).await,
        Verb::Set(verb) => set::run(verb).await,
        Verb::Cordon(args) => node::cordon(args, true).await,
        Verb::Uncordon(args) => node::cordon(args, false).await,
        Verb::Drain(args) => drain::run(args).await,
        Verb::Taint(args) => node::taint(args).await,
        Verb::Edit(args) => edit::run(args).await,
        Verb::ApiResources(args) => cluster::resources(args).await,
        Verb::Explain(args) => explain::run(args).await,
        Verb::ClusterInfo(args) => cluster::info(args).await,
        Verb::Token(verb) => token::run(verb).await,
        Verb::Masters(verb) => masters::run(verb).await,
        Verb::Image(verb) => images::run(verb).await,
        Verb::Snapshot(verb) => snapshot::run(verb).await,
    }
}
