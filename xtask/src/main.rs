//! The project's own chores: `cargo xtask tidy` checks the form of the tree, `cargo xtask bench` measures it.

mod bench;
mod form;
mod imports;
mod tidy;

use clap::Parser;

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Check form and import directions
    Tidy,
    /// Measure the release build beside its peers
    #[command(disable_help_flag = true)]
    Bench {
        /// Passed on; `--help` lists what can be measured
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Tidy => tidy::run(),
        Chore::Bench { arguments } => bench::run(&arguments),
    }
}
