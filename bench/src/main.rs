//! What the budgets are held against: the real binary, built with `--release`, beside peers in the same run.
//!
//! Each measure is a file whose parts return rows; the table shows the figure, its ratio to a peer where there is one, and the
//! budget. Figures of one run belong together: machines are noisy, ratios less so. Run it by `cargo xtask bench`.

mod api;
mod containers;
mod density;
mod exchange;
mod figures;
mod image;
mod ingress;
mod kills;
mod load;
mod native;
mod nodes;
mod peers;
mod placement;
mod podnet;
mod pods;
mod process;
mod recovery;
mod sandboxes;
mod server;
mod start;
mod streams;

use clap::{Parser, ValueEnum};

use figures::Row;

/// Measures Wherry and its peers; prints a table.
#[derive(Parser)]
#[command(name = "cargo xtask bench", after_help = "Example: cargo xtask bench --only start,ingress")]
struct Arguments {
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measure>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    Start,
    Pods,
    Ingress,
    Streams,
    Podnet,
    Api,
    Placement,
    Density,
    Recovery,
    Sandboxes,
    Containers,
    Kills,
    Nodes,
}

/// A part of a measure, whose rows are printed together.
type Part = fn() -> anyhow::Result<Vec<Row>>;

impl Measure {
    fn parts(self) -> &'static [Part] {
        match self {
            Self::Start => &[start::measure],
            Self::Pods => &[pods::measure],
            Self::Ingress => &[ingress::measure],
            Self::Streams => &[streams::measure, streams::between_nodes],
            Self::Podnet => &[podnet::measure],
            Self::Api => &[api::measure],
            Self::Placement => &[placement::measure],
            Self::Density => &[density::measure],
            Self::Recovery => &[recovery::measure],
            Self::Sandboxes => &sandboxes::PARTS,
            Self::Containers => &containers::PARTS,
            Self::Kills => &[kills::measure],
            Self::Nodes => &[nodes::patient, nodes::prompt],
        }
    }
}

fn main() {
    let Arguments { only } = Arguments::parse();
    figures::print_heading();
    for measure in Measure::value_variants().iter().filter(|measure| only.is_empty() || only.contains(measure)) {
        let name = measure.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        eprintln!("measuring {name} …");
        // As they come: what a later measure does cannot lose them.
        for part in measure.parts() {
            let failed = |error| vec![Row::new(name.clone(), format!("failed: {error:#}"), "")];
            figures::print(&part().unwrap_or_else(failed));
        }
    }
}
