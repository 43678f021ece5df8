//! Builds the guest examples for their wasm targets and puts them into the library, so that `wherry up --demo` needs no
//! file beside it. Adds a missing target with rustup, also where rustup's auto-install is off.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

type Outcome<T> = Result<T, String>;

fn main() {
    if let Err(message) = run() {
        println!("cargo::error={message}");
    }
}

fn run() -> Outcome<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../..");
    let source = root.join("guest-examples");
    let out = PathBuf::from(variable("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", source.display());
    let listed = read(&source.join("targets.txt"))?;
    let guests = parse(&listed)?;
    let mut targets: Vec<&str> = guests.iter().map(|(_, target)| *target).collect();
    targets.sort_unstable();
    targets.dedup();
    for target in &targets {
        ensure_target(target)?;
        let names = guests.iter().filter(|guest| guest.1 == *target).map(|guest| guest.0);
        build(&source, &out.join("guests"), target, names)?;
    }
    fs::write(out.join("guests.rs"), table(&guests, &out.join("guests"))).map_err(|e| e.to_string())
}

/// `name target` lines; blank lines and `#` lines say nothing.
fn parse(listed: &str) -> Outcome<Vec<(&str, &str)>> {
    let lines = listed.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').ok_or_else(|| format!("targets.txt: \"{line}\" is not `name target`")))
        .collect()
}

fn ensure_target(target: &str) -> Outcome<()> {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let shown = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output();
    let directory = shown.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    if !directory.is_empty() && Path::new(&directory).is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", target]).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("`rustup target add {target}` failed; the guest examples need that target")),
        Err(_) => Err(format!(
            "the guest examples need the Rust target {target}, and there is no rustup to add it; install rustup, or the \
             target's standard library with your distribution's tools"
        )),
    }
}

fn build<'a>(source: &Path, target_dir: &Path, target: &str, names: impl Iterator<Item = &'a str>) -> Outcome<()> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(source).args(["build", "--release", "--locked", "--target", target]);
    command.env("CARGO_TARGET_DIR", target_dir);
    // Flags and wrappers of the outer build are for the host.
    for inherited in
        ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"]
    {
        command.env_remove(inherited);
    }
    for name in names {
        command.args(["-p", name]);
    }
    let output = command.output().map_err(|e| format!("cannot run cargo for the guest examples: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    Err(format!("the guest examples do not build for {target}; `cargo build` in guest-examples/ shows why"))
}

/// The source of a table of names and modules.
fn table(guests: &[(&str, &str)], target_dir: &Path) -> String {
    let mut text = String::from("/// The guest examples: name and module.\npub static GUESTS: &[(&str, &[u8])] = &[\n");
    for (name, target) in guests {
        let file = target_dir.join(target).join("release").join(format!("{name}.wasm"));
        text.push_str(&format!("    ({name:?}, include_bytes!({:?})),\n", file.display().to_string()));
    }
    text.push_str("];\n");
    text
}

fn variable(name: &str) -> Outcome<String> {
    env::var(name).map_err(|_| format!("{name} is not set: run this through cargo"))
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
