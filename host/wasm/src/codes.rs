//! Compiled code, by the digest of its module: files that this release made, loaded when the first container needs them. A
//! node whose modules run in sandboxes loads none.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::OnceCell;
use wasmtime::Module;
use wasmtime::component::{Component, InstancePre, Linker};
use wherry_image::{Inspected, ModuleKind};

use crate::engine::{Engines, Needs, World};
use crate::state::State;

/// A module's code.
#[derive(Clone)]
pub(crate) enum Code {
    /// A core module, and how it runs.
    Core(Module, Form),
    /// A component.
    Component(Arc<ComponentCode>),
}

/// A component's code, and how it runs.
pub(crate) struct ComponentCode {
    pub(crate) component: Component,
    pub(crate) form: Form,
    /// With its imports, which take kilobytes: once for all its containers.
    linked: OnceLock<InstancePre<State>>,
}

/// How code is loaded and run. As text for another process of this release: `KIND`, `KIND+concurrent`, `KIND+epochs` or
/// `KIND+concurrent+epochs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) kind: ModuleKind,
    pub(crate) needs: Needs,
}

const KINDS: [(ModuleKind, &str); 5] = [
    (ModuleKind::CoreCommand, "core"),
    (ModuleKind::Command2, "command2"),
    (ModuleKind::Command3, "command3"),
    (ModuleKind::Http2, "http2"),
    (ModuleKind::Http3, "http3"),
];
const CONCURRENT: &str = "+concurrent";
const EPOCHS: &str = "+epochs";

/// A module's code in its file.
pub(crate) struct Compiled {
    pub(crate) form: Form,
    file: File,
    loaded: OnceLock<Code>,
}

/// The code of all modules that were compiled or given; one task compiles, the others wait.
pub(crate) struct Codes {
    pub(crate) engines: Arc<Engines>,
    /// Whether what is compiled here counts epochs.
    epochs: bool,
    by_digest: Mutex<HashMap<String, Arc<OnceCell<Compiled>>>>,
}

impl Form {
    const fn new(kind: ModuleKind, concurrent: bool, epochs: bool) -> Self {
        let pool = matches!(kind, ModuleKind::Http2 | ModuleKind::Http3);
        Self { kind, needs: Needs { pool, concurrent, epochs } }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, word)| word);
        let Needs { concurrent, epochs, .. } = self.needs;
        write!(f, "{word}{}{}", if concurrent { CONCURRENT } else { "" }, if epochs { EPOCHS } else { "" })
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, epochs) = text.strip_suffix(EPOCHS).map_or((text, false), |rest| (rest, true));
        let (word, concurrent) = rest.strip_suffix(CONCURRENT).map_or((rest, false), |word| (word, true));
        let kind = KINDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind);
        let kind = kind.ok_or_else(|| format!("no form of code: {text:?}"))?;
        Ok(Self::new(kind, concurrent, epochs))
    }
}

impl Compiled {
    pub(crate) const fn new(form: Form, file: File) -> Self {
        Self { form, file, loaded: OnceLock::new() }
    }

    fn load(&self, engines: &Engines) -> wasmtime::Result<Code> {
        if let Some(code) = self.loaded.get() {
            return Ok(code.clone());
        }
        let code = load(self.form, &self.file, engines)?;
        Ok(self.loaded.get_or_init(|| code).clone())
    }
}

impl ComponentCode {
    fn new(component: Component, form: Form) -> Arc<Self> {
        Arc::new(Self { component, form, linked: OnceLock::new() })
    }

    /// Linked by `linker`, which is the same for all calls.
    pub(crate) fn linked(&self, linker: &Linker<State>) -> wasmtime::Result<InstancePre<State>> {
        if let Some(linked) = self.linked.get() {
            return Ok(linked.clone());
        }
        let linked = linker.instantiate_pre(&self.component)?;
        Ok(self.linked.get_or_init(|| linked).clone())
    }
}

impl Codes {
    /// None yet; `epochs` says whether what is compiled here counts them.
    pub(crate) fn new(engines: Arc<Engines>, epochs: bool) -> Arc<Self> {
        Arc::new(Self { engines, epochs, by_digest: Mutex::default() })
    }

    /// How a module is to be compiled.
    pub(crate) fn form_of(&self, module: &Inspected) -> Form {
        let exports_p3 = matches!(module.kind, ModuleKind::Http3 | ModuleKind::Command3);
        let imports_p3 = module.imports.iter().any(|import| import.contains("@0.3."));
        Form::new(module.kind, exports_p3 || imports_p3, self.epochs)
    }

    /// Where a module's code is, or will be.
    pub(crate) fn cell(&self, digest: &str) -> Arc<OnceCell<Compiled>> {
        Arc::clone(self.by_digest().entry(digest.to_owned()).or_default())
    }

    /// The form of code that is there.
    pub(crate) fn form(&self, digest: &str) -> Option<Form> {
        Some(self.by_digest().get(digest)?.get()?.form)
    }

    /// Code that is there.
    pub(crate) fn code(&self, digest: &str) -> Option<wasmtime::Result<Code>> {
        let cell = self.by_digest().get(digest).cloned()?;
        Some(cell.get()?.load(&self.engines))
    }

    /// Takes code that another process of this release has compiled.
    pub(crate) fn install(&self, digest: &str, form: Form, file: File) {
        let _another_was_first = self.cell(digest).set(Compiled::new(form, file));
    }

    /// What names the engine that such code is compiled for, with or without a pool.
    pub(crate) fn key(&self, form: Form) -> wasmtime::Result<String> {
        Ok(self.compiler(form)?.key())
    }

    pub(crate) fn compile(&self, form: Form, module: &[u8]) -> wasmtime::Result<Vec<u8>> {
        let engine = &self.compiler(form)?.engine;
        let is_core = form.kind == ModuleKind::CoreCommand;
        if is_core { engine.precompile_module(module) } else { engine.precompile_component(module) }
    }

    /// Code is the same for an engine with a pool, which only those need that run it.
    fn compiler(&self, form: Form) -> wasmtime::Result<Arc<World>> {
        self.engines.world(Needs { pool: false, ..form.needs })
    }

    fn by_digest(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<Compiled>>>> {
        self.by_digest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loads code from its file.
fn load(form: Form, file: &File, engines: &Engines) -> wasmtime::Result<Code> {
    let engine = &engines.world(form.needs)?.engine;
    // The open file, whatever has become of its name.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the file was written by the node, in a directory that only the node can write, with this very engine
    // (wasmtime checks its version and settings), and the node has checked its signature when it opened it.
    unsafe {
        if form.kind == ModuleKind::CoreCommand {
            Module::deserialize_file(engine, path).map(|module| Code::Core(module, form))
        } else {
            let component = Component::deserialize_file(engine, path)?;
            Ok(Code::Component(ComponentCode::new(component, form)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_words() {
        for (kind, _) in KINDS {
            for (concurrent, epochs) in [(false, false), (false, true), (true, false), (true, true)] {
                let form = Form::new(kind, concurrent, epochs);
                assert_eq!(form.to_string().parse(), Ok(form));
            }
        }
        assert!("http9".parse::<Form>().is_err());
    }
}
