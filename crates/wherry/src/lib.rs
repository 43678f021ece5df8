//! The binary: flags become roles. The only crate that wires both planes; it decides nothing itself.
//!
//! Carries the guest examples (`wherry-guests`) and the demo's manifests, so that `wherry up --demo` needs no file beside it.

mod admin_kubeconfig;
mod cluster_info;
mod compile;
mod config;
mod credentials;
mod data_dir;
mod demo;
mod foreign;
mod image_peers;
mod join;
mod join_masters;
mod leader;
mod listeners;
mod master;
mod membership;
mod node;
mod node_credentials;
mod renewal;
mod roles;
mod runtimes;
mod sandbox;
mod serve_tls;
mod servers;
mod up;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Cli, CommonArgs, LogFormat, Verb};

pub use wherry_guests::GUESTS;

/// What is logged where `WHERRY_LOG` says nothing. The log's library warns of a master that is away with each heartbeat; we say it
/// once.
const LOGGED: &str = "warn,openraft=error,wherry=info";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads the command line and carries it out.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    errors_without_backtraces();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: a TLS provider was installed before main");
        return ExitCode::FAILURE;
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", wherry_cli::error_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    // A sandbox or a compiler confines itself before it has any thread.
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match cli.verb {
        Verb::Up(args) => {
            prepare(&args.common);
            runtime()?.block_on(up::up(args))
        }
        Verb::Master(args) => {
            prepare(&args.common);
            runtime()?.block_on(roles::master(args))
        }
        Verb::Node(args) => {
            prepare(&args.common);
            runtime()?.block_on(roles::node(args))
        }
        Verb::RestoreAlone(args) => join_masters::restore_alone(&args.data_dir),
        Verb::Sandbox(args) => sandbox::run(args),
        Verb::Compile(args) => compile::run(&args),
        Verb::Person(verb) => runtime()?.block_on(wherry_cli::run(verb)),
    }
}

/// Errors are part of ordinary requests, and where `RUST_BACKTRACE` is set each would unwind its stack: a sixth of what a
/// request costs. A panic still tells where it happened; `RUST_LIB_BACKTRACE=1` has errors tell too.
fn errors_without_backtraces() {
    if std::env::var_os("RUST_LIB_BACKTRACE").is_none() {
        // SAFETY: this process has no second thread yet that could read the environment meanwhile.
        unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    }
}

/// What every role needs before its runtime.
fn prepare(common: &CommonArgs) {
    log_to_stderr(common.log_format);
    raise_open_files();
}

/// A node's sockets, logs and volumes need more open files than a shell's usual 1,024: as many as may be.
fn raise_open_files() {
    let ceiling = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: ceiling, maximum: ceiling }) {
        tracing::warn!(%error, "the limit of open files stays as it was");
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WHERRY_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(LOGGED));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
