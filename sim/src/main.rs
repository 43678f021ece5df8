//! Runs the simulation with one seed after the other, and prints those that show something that must not be.
//!
//! Each seed has a process of its own: tokio counts its runtimes, for random numbers of theirs, over the whole process.

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use wherry_sim::{Bug, Report, Scenario, Size, Spans, run};

/// Simulates a cluster with seeded troubles and checks what came of it.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many masters there are
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    masters: u8,
    /// How many nodes; none: only keys are written, read and watched
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=50))]
    nodes: u8,
    /// For how many seconds there are troubles
    #[arg(long, default_value_t = 25)]
    troubled: u64,
    /// For how many seconds everything is well afterwards
    #[arg(long, default_value_t = 30)]
    sound: u64,
    /// A bug to plant
    #[arg(long, value_enum)]
    bug: Option<Bug>,
    /// How many seeds run at once
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Prints all that happened
    #[arg(long)]
    verbose: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.seeds == 1 {
        let report = run(args.from, args.scenario());
        print(args.from, &report, args.verbose);
        return Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let failed = args.run_apart()?;
    println!("{} seeds from {} on, {failed} with violations", args.seeds, args.from);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Args {
    fn scenario(&self) -> Scenario {
        let spans = Spans { troubled: Duration::from_secs(self.troubled), sound: Duration::from_secs(self.sound) };
        let size = Size { masters: self.masters.into(), nodes: self.nodes.into() };
        Scenario { size, spans, bug: self.bug }
    }

    /// Runs each seed in a process; how many failed.
    fn run_apart(&self) -> anyhow::Result<usize> {
        let (next, failed) = (AtomicU64::new(self.from), AtomicUsize::new(0));
        let work = || -> anyhow::Result<()> {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.from + self.seeds {
                    return Ok(());
                }
                let is_sound = self.command(seed)?.status().context("cannot start a process for a seed")?.success();
                failed.fetch_add(usize::from(!is_sound), Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
        })?;
        Ok(failed.into_inner())
    }

    fn command(&self, seed: u64) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        let numbers = [
            ("--from", seed),
            ("--masters", self.masters.into()),
            ("--nodes", self.nodes.into()),
            ("--troubled", self.troubled),
            ("--sound", self.sound),
        ];
        command.args(numbers.iter().flat_map(|(flag, number)| [(*flag).to_owned(), number.to_string()]));
        if let Some(bug) = self.bug.and_then(|bug| bug.to_possible_value()) {
            command.args(["--bug", bug.get_name()]);
        }
        command.args(self.verbose.then_some("--verbose"));
        Ok(command)
    }
}

fn print(seed: u64, report: &Report, verbose: bool) {
    let Report { digest, counts: [calls, shown, runs, troubles], violations, story } = report;
    println!(
        "seed {seed}: {calls} calls, {shown} events watched, {runs} pods ran, {troubles} troubles, history {digest:016x}"
    );
    if verbose {
        story.iter().for_each(|(at, event)| println!("  {:>8.3} s {event}", at.as_secs_f64()));
    }
    violations.iter().for_each(|violation| println!("  VIOLATION {violation}"));
}
