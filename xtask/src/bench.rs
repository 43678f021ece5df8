//! `bench`: builds the binary and the measuring program, both with `--release`, and runs the latter.

use std::process::Command;

use anyhow::ensure;

/// Passes `arguments` on.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    cargo(&["build", "--release", "--package", "wherry", "--package", "wherry-bench"])?;
    let mut words = vec!["run", "--quiet", "--release", "--package", "wherry-bench", "--"];
    words.extend(arguments.iter().map(String::as_str));
    cargo(&words)
}

fn cargo(words: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO")).args(words).status()?;
    ensure!(status.success(), "cargo {} ended with {status}", words.join(" "));
    Ok(())
}
