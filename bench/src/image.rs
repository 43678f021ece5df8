//! The image of the containers that are measured: the peer program and the libraries that it is linked with, nothing else.

use std::process::Command;

use anyhow::{Context, ensure};
use wherry_tests::Engine;

/// Its name in the engine.
pub const NAME: &str = "peer:1";
const PROGRAM: &str = "wherry-bench-peer";

/// Makes the image in an engine.
pub fn import(engine: &Engine) -> anyhow::Result<()> {
    let program = std::env::current_exe()?.with_file_name(PROGRAM);
    ensure!(program.exists(), "{} is missing: run this by `cargo xtask bench`", program.display());
    let program = program.display().to_string();
    let linked = Command::new("ldd").arg(&program).output().context("ldd")?;
    ensure!(linked.status.success(), "ldd: {}", String::from_utf8_lossy(&linked.stderr));
    let scratch = tempfile::tempdir()?;
    let archive = scratch.path().join("peer.tar").display().to_string();
    let libraries = String::from_utf8(linked.stdout)?;
    // What is no file is the kernel's own.
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    let files = std::iter::once(program.as_str()).chain(libraries).map(|path| path.trim_start_matches('/'));
    // The links that libraries are named by become files.
    let tar = Command::new("tar").args(["--dereference", "-C", "/", "-cf", &archive]).args(files).status()?;
    ensure!(tar.success(), "tar ended with {tar}");
    engine.docker(&["import", "--change", &format!("ENTRYPOINT [{program:?}]"), &archive, NAME]).map(drop)
}
