//! The project's own chores: `cargo xtask tidy` checks the form of the tree, `cargo xtask bench` measures it.

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
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Tidy => tidy::run(),
    }
}
