//! What a file is: read section by section, nothing compiled.

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

/// The packages whose interfaces the runtime offers.
const OFFERED: [&str; 7] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
const OFFERED_VERSIONS: [&str; 2] = ["0.2.", "0.3."];
const CORE_WORLD: &str = "wasi_snapshot_preview1";

/// How a module runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// A core module of WASI 0.1 with `_start`.
    CoreCommand,
    /// A component that exports `wasi:cli/run@0.2`.
    Command2,
    /// A component that exports `wasi:cli/run@0.3`.
    Command3,
    /// A component that exports `wasi:http/incoming-handler@0.2`.
    Http2,
    /// A component that exports `wasi:http/handler@0.3`.
    Http3,
}

/// What was found out about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// How it runs.
    pub kind: ModuleKind,
    /// What it imports.
    pub imports: Vec<String>,
}

/// Why a file cannot run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Truncated, corrupt, or something else altogether.
    #[error("not a valid wasm module: {0}")]
    NotWasm(String),
    /// It wants what nobody here offers.
    #[error(
        "it imports \"{0}\", which is not offered here: components may import wasi:cli, clocks, filesystem, http, io, random and sockets 0.2 or 0.3, core modules wasi_snapshot_preview1"
    )]
    UnknownImport(String),
    /// It has no way in.
    #[error(
        "it exports nothing that can be run: a component must export wasi:cli/run or a wasi:http handler (0.2 or 0.3), a core module _start (build a program, not a library)"
    )]
    NoEntry,
}

/// Reads a file.
pub fn inspect(bytes: &[u8]) -> Result<Inspected, InspectError> {
    let broken = |e: wasmparser::BinaryReaderError| InspectError::NotWasm(e.to_string());
    Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).map_err(broken)?;
    let names = Names::read(bytes).map_err(broken)?;
    let offered = if names.is_component { offered_to_components } else { offered_to_core };
    if let Some(unknown) = names.imports.iter().find(|import| !offered(import)) {
        return Err(InspectError::UnknownImport(unknown.clone()));
    }
    let kind = names.kind().ok_or(InspectError::NoEntry)?;
    Ok(Inspected { kind, imports: names.imports })
}

/// The outermost imports and exports.
#[derive(Default)]
struct Names {
    is_component: bool,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Names {
    fn read(bytes: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut names = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding, .. } if depth == 0 => names.is_component = encoding == Encoding::Component,
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ImportSection(section) if depth == 0 => {
                    for import in section.into_imports() {
                        names.imports.push(import?.module.to_owned());
                    }
                }
                Payload::ExportSection(section) if depth == 0 => {
                    for export in section {
                        names.exports.push(export?.name.to_owned());
                    }
                }
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        names.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        names.exports.push(export?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        names.imports.sort();
        names.imports.dedup();
        Ok(names)
    }

    fn kind(&self) -> Option<ModuleKind> {
        let exports = |prefix: &str| self.exports.iter().any(|export| export.starts_with(prefix));
        let core = !self.is_component && self.exports.iter().any(|export| export == "_start");
        let ways = [
            (core, ModuleKind::CoreCommand),
            (exports("wasi:http/incoming-handler@0.2."), ModuleKind::Http2),
            (exports("wasi:http/handler@0.3."), ModuleKind::Http3),
            // Rust adds the 0.2 export to any program: who exports 0.3 as well means that.
            (exports("wasi:cli/run@0.3."), ModuleKind::Command3),
            (exports("wasi:cli/run@0.2."), ModuleKind::Command2),
        ];
        ways.into_iter().find(|(is, _)| *is).map(|(_, kind)| kind)
    }
}

fn offered_to_components(import: &str) -> bool {
    let version = import.split_once('@').map(|(_, version)| version).unwrap_or_default();
    OFFERED.iter().any(|package| import.starts_with(package))
        && OFFERED_VERSIONS.iter().any(|own| version.starts_with(own))
}

fn offered_to_core(import: &str) -> bool {
    import == CORE_WORLD
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(module (func) (export NAME (func 0)))`, with an import of a function before it where one is named.
    fn core(import: Option<&str>, export: &str) -> Vec<u8> {
        let text = |s: &str| [&[u8::try_from(s.len()).unwrap()], s.as_bytes()].concat();
        let section = |id: u8, body: Vec<u8>| [vec![id, u8::try_from(body.len()).unwrap()], body].concat();
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(section(1, vec![1, 0x60, 0, 0]));
        if let Some(name) = import {
            module.extend(section(2, [vec![1], text(name), text("f"), vec![0, 0]].concat()));
        }
        module.extend(section(3, vec![1, 0]));
        module.extend(section(7, [vec![1], text(export), vec![0, 0]].concat()));
        module.extend(section(10, vec![1, 2, 0, 0x0b]));
        module
    }

    #[test]
    fn files_are_told_apart() {
        let start = core(Some(CORE_WORLD), "_start");
        assert_eq!(
            inspect(&start).unwrap(),
            Inspected { kind: ModuleKind::CoreCommand, imports: vec![CORE_WORLD.into()] }
        );
        assert_eq!(inspect(&core(None, "run")), Err(InspectError::NoEntry));
        assert_eq!(inspect(&core(Some("env"), "_start")), Err(InspectError::UnknownImport("env".into())));
        assert!(matches!(inspect(&start[..start.len() - 3]), Err(InspectError::NotWasm(_))));
        assert!(matches!(inspect(b"#!/bin/sh"), Err(InspectError::NotWasm(_))));
        assert!(matches!(inspect(b""), Err(InspectError::NotWasm(_))));
    }

    #[test]
    fn each_guest_example_is_what_it_means_to_be() {
        for (guest, _) in wherry_guests::GUESTS {
            let expected = match *guest {
                "batch" => ModuleKind::CoreCommand,
                "hello-http" => ModuleKind::Http2,
                "hello3" => ModuleKind::Http3,
                "echo3" => ModuleKind::Command3,
                _ => ModuleKind::Command2,
            };
            let module = wherry_guests::guest(guest).unwrap();
            assert_eq!(inspect(module).unwrap().kind, expected, "{guest}");
        }
    }

    #[test]
    fn worlds_are_by_package_and_version() {
        for (import, offered) in [
            ("wasi:io/poll@0.2.6", true),
            ("wasi:cli/stdout@0.3.0", true),
            ("wasi:nn/graph@0.2.0", false),
            ("wasi:io/poll@1.0.0", false),
        ] {
            assert_eq!(offered_to_components(import), offered, "{import}");
        }
    }
}
