//! Which crate may name which: DESIGN's boundaries, read off the Cargo.toml files.

use std::collections::BTreeSet;

/// What a crate of ours may depend on, outside of its tests: our crates by their short names.
const ALLOWED: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("base", &[]),
    ("pki", &[]),
    ("confine", &[]),
    ("fixture", &["api"]),
    ("guests", &[]),
    ("client", &["api", "base"]),
    ("image", &["api", "client"]),
    ("streaming", &[]),
    ("cli", &["api", "base", "client", "image", "pki", "streaming"]),
    ("placement", &["api"]),
    ("store", &["api", "base"]),
    ("registry", &["api", "base", "client"]),
    ("apiserver", &["api", "base", "client", "store", "pki"]),
    ("controllers", &["api", "base", "client", "pki", "placement"]),
    ("vnet", &["base"]),
    ("podnet", &["base", "vnet"]),
    ("runtime", &["api", "base", "vnet"]),
    ("sandbox", &["base", "confine", "runtime", "vnet"]),
    ("wasm", &["base", "image", "runtime", "vnet"]),
    ("docker", &["base", "confine", "image", "podnet", "runtime", "vnet"]),
    ("tunnel", &["api", "base", "client", "vnet"]),
    ("proxy", &["api", "base", "client", "vnet", "pki"]),
    ("agent", &["api", "base", "client", "pki", "runtime", "streaming", "vnet"]),
];

/// Who alone may name a heavy dependency.
const SOLE_IMPORTERS: &[(&str, &[&str])] = &[
    ("wasmtime", &["wasm"]),
    ("wasmtime-wasi", &["wasm"]),
    ("wasmtime-wasi-http", &["wasm"]),
    ("bollard", &["docker"]),
    ("redb", &["store"]),
    ("openraft", &["store"]),
    ("rcgen", &["pki"]),
    ("landlock", &["confine"]),
    ("seccompiler", &["confine"]),
];

/// Crates that compile without an async runtime.
const WITHOUT_TOKIO: &[&str] = &["api", "placement", "fixture", "pki", "confine"];

/// The faults of one crate's Cargo.toml.
pub fn check(name: &str, dependencies: &BTreeSet<String>) -> Vec<String> {
    let short = name.strip_prefix("wherry-").unwrap_or(name);
    let mut faults = Vec::new();
    if let Some((_, allowed)) = ALLOWED.iter().find(|(who, _)| *who == short) {
        let ours = dependencies.iter().filter_map(|d| d.strip_prefix("wherry-"));
        faults.extend(ours.filter(|d| !allowed.contains(d)).map(|d| format!("{name} may not import wherry-{d}")));
    }
    for (heavy, importers) in SOLE_IMPORTERS {
        if dependencies.contains(*heavy) && !importers.contains(&short) {
            faults.push(format!("{name} may not import {heavy}: only {} may", importers.join(", ")));
        }
    }
    if WITHOUT_TOKIO.contains(&short) && dependencies.contains("tokio") {
        faults.push(format!("{name} must compile without tokio"));
    }
    faults
}

/// The names under `[dependencies]` of a Cargo.toml.
pub fn dependencies(manifest: &str) -> BTreeSet<String> {
    let section = manifest.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    let name = |line: &str| line.split(['.', '=', ' ']).next().unwrap_or_default().to_owned();
    lines.map(name).filter(|name| !name.is_empty() && !name.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_crosses_a_boundary() {
        let manifest = "[package]\nname = \"wherry-agent\"\n\n[dependencies]\nwasmtime.workspace = true\nwherry-store = { path = \"x\" }\nserde.workspace = true\n\n[dev-dependencies]\nwherry-apiserver.workspace = true\n";
        let faults = check("wherry-agent", &dependencies(manifest));
        assert_eq!(
            faults,
            ["wherry-agent may not import wherry-store", "wherry-agent may not import wasmtime: only wasm may"]
        );
    }
}
