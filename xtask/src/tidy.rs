//! `tidy`: the rules of form that no compiler checks. Itself run by a test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::{form, imports};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 1000;
/// The trees that hold our Rust code.
const ROOTS: &[&str] = &["scheduler", "host", "crates", "sim", "xtask", "tests", "guest-examples"];

/// Prints all faults and fails where there are any.
pub fn run() -> anyhow::Result<()> {
    let faults = faults(&workspace_root()?)?;
    if faults.is_empty() {
        println!("tidy: no faults");
        return Ok(());
    }
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    bail!("{} faults of form", faults.len())
}

/// The directory of the workspace's Cargo.toml.
pub fn workspace_root() -> anyhow::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(Path::to_owned).context("xtask lies in no workspace")
}

fn faults(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for tree in ROOTS {
        for path in files(&root.join(tree))? {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            if path.extension().is_some_and(|e| e == "rs") {
                faults.extend(rust_faults(&shown, &text));
            } else if path.file_name().is_some_and(|n| n == "Cargo.toml") {
                faults.extend(manifest_faults(&shown, &text));
            }
        }
    }
    faults.extend(forgotten_tests(&root.join("tests/it"))?);
    Ok(faults)
}

fn rust_faults(shown: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{shown}: {lines} lines; {FILE_LINES_MAX} at most: split it"));
    }
    if !form::has_opening(text) && !shown.ends_with("tests.rs") {
        faults.push(format!("{shown}: opens without a `//!` paragraph that says what it owns"));
    }
    if text.lines().any(|line| line.trim_start().starts_with("#[ignore")) {
        faults.push(format!("{shown}: an ignored test says nothing; make it skip loudly or remove it"));
    }
    for function in form::functions(text).iter().filter(|f| f.lines > FUNCTION_LINES_MAX) {
        let form::Function { name, line, lines } = function;
        faults.push(format!("{shown}:{line}: fn {name} has {lines} lines; {FUNCTION_LINES_MAX} at most"));
    }
    faults
}

fn manifest_faults(shown: &str, text: &str) -> Vec<String> {
    let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let Some(name) = name else { return Vec::new() };
    let faults = imports::check(name, &imports::dependencies(text));
    faults.into_iter().map(|fault| format!("{shown}: {fault}")).collect()
}

/// Files beside `tests/it/main.rs` that it does not name would never run.
fn forgotten_tests(directory: &Path) -> anyhow::Result<Vec<String>> {
    let main = fs::read_to_string(directory.join("main.rs")).context("tests/it/main.rs")?;
    let mut forgotten = Vec::new();
    for path in files(directory)?.iter().filter(|path| path.parent() == Some(directory)) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if stem != "main" && !main.contains(&format!("mod {stem};")) {
            forgotten.push(format!("tests/it/{stem}.rs: main.rs does not name it, so its tests never run"));
        }
    }
    Ok(forgotten)
}

fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" {
            found.extend(files(&path)?);
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let faults = faults(&workspace_root().unwrap()).unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn names_what_is_untidy() {
        let long = format!("fn f() {{\n{}}}\n", "    x();\n".repeat(70));
        let faults = rust_faults("a.rs", &long);
        assert_eq!(
            faults,
            ["a.rs: opens without a `//!` paragraph that says what it owns", "a.rs:1: fn f has 72 lines; 70 at most"]
        );
    }
}
