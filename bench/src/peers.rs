//! What Wherry is held against: a native server, and the `wasmtime` command line, which is installed if it is missing.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use tokio::runtime::Runtime;
use wherry_tests::until;

use crate::native;

/// The release of wasmtime that Wherry itself is built with.
const WASMTIME_VERSION: &str = "48.0.8";
/// The pool as Wherry tunes it: without these `wasmtime serve` does a third as much.
const WASMTIME_TUNING: &str = "pooling-pagemap-scan=y,pooling-memory-keep-resident=2097152,\
                               pooling-table-keep-resident=65536,pooling-async-stack-keep-resident=32768";

/// A hyper server in this process, with as many workers as there are cores.
pub struct Native {
    pub address: SocketAddr,
    _runtime: Runtime,
}

impl Native {
    pub fn start() -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        runtime.spawn(native::serve(listener));
        Ok(Self { address, _runtime: runtime })
    }
}

/// `wasmtime serve` of a guest example. Killed when dropped.
pub struct WasmtimeServe {
    pub address: SocketAddr,
    _process: Killed,
    _guest: GuestFile,
}

/// A process that ends with its owner.
pub struct Killed(pub Child);

/// A guest example's module as a file.
pub struct GuestFile(tempfile::TempPath);

impl WasmtimeServe {
    pub fn start(guest: &str) -> anyhow::Result<Self> {
        let guest = GuestFile::write(guest)?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(wasmtime()?);
        command.args(["serve", "-S", "cli", "-O", WASMTIME_TUNING, "--addr", &address.to_string()]).arg(guest.path());
        // Else each request pays for backtraces that nobody sees.
        command.env_remove("RUST_BACKTRACE").stdout(Stdio::null()).stderr(Stdio::null());
        let process = Killed(command.spawn()?);
        until("wasmtime serves", || Ok(std::net::TcpStream::connect(address).ok()))?;
        Ok(Self { address, _process: process, _guest: guest })
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _status = self.0.wait();
    }
}

impl GuestFile {
    pub fn write(guest: &str) -> anyhow::Result<Self> {
        let (_, module) = wherry::GUESTS.iter().find(|(name, _)| *name == guest).context("no such guest")?;
        let file = tempfile::NamedTempFile::with_suffix(".wasm")?.into_temp_path();
        std::fs::write(&file, module)?;
        Ok(Self(file))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// The installed `wasmtime`, or one that cargo installs beside the build.
pub fn wasmtime() -> anyhow::Result<PathBuf> {
    if Command::new("wasmtime").arg("--version").stdout(Stdio::null()).status().is_ok() {
        return Ok("wasmtime".into());
    }
    let own = std::env::current_exe()?;
    let root = own.parent().and_then(Path::parent).context("no target directory")?.join("tools");
    let binary = root.join("bin/wasmtime");
    if !binary.exists() {
        eprintln!("installing wasmtime-cli {WASMTIME_VERSION} into {} (some minutes) …", root.display());
        let mut install = Command::new("cargo");
        install.args(["install", "wasmtime-cli", "--locked", "--version", WASMTIME_VERSION, "--root"]).arg(&root);
        ensure!(install.status()?.success(), "cargo cannot install wasmtime-cli");
    }
    Ok(binary)
}
