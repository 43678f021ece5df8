//! Compiled code in memory, by the digest of its module: loaded from files that a node of this release has signed.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use wasmtime::Module;
use wasmtime::component::{Component, InstancePre, Linker};
use wherry_image::ModuleKind;

use crate::engine::{Engines, Needs};
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

/// The code of all modules that were given.
pub(crate) struct Codes {
    pub(crate) engines: Arc<Engines>,
    by_digest: Mutex<HashMap<String, Code>>,
}

impl Form {
    pub(crate) const fn new(kind: ModuleKind, concurrent: bool, epochs: bool) -> Self {
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
    /// None yet.
    pub(crate) fn new(engines: Arc<Engines>) -> Arc<Self> {
        Arc::new(Self { engines, by_digest: Mutex::default() })
    }

    /// Code that is there.
    pub(crate) fn get(&self, digest: &str) -> Option<Code> {
        self.by_digest().get(digest).cloned()
    }

    /// Takes code that a node of this release has signed.
    pub(crate) fn install(&self, digest: &str, form: Form, file: &File) -> wasmtime::Result<()> {
        if self.get(digest).is_none() {
            let code = self.load(form, file)?;
            // Where two come at the same time, one is dropped unused.
            self.by_digest().entry(digest.to_owned()).or_insert(code);
        }
        Ok(())
    }

    fn by_digest(&self) -> MutexGuard<'_, HashMap<String, Code>> {
        self.by_digest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads code from its file.
    fn load(&self, form: Form, file: &File) -> wasmtime::Result<Code> {
        let engine = &self.engines.world(form.needs)?.engine;
        // The open file, whatever has become of its name.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the file was written by the node, in a directory that only the node can write, for this very engine
        // (wasmtime checks its version and settings), and the node has checked its signature when it opened it. It may be
        // what a module has made of the compiler: then it is that module's own process that it runs in, or that of a node
        // whose owner trusts all modules.
        unsafe {
            if form.kind == ModuleKind::CoreCommand {
                Module::deserialize_file(engine, path).map(|module| Code::Core(module, form))
            } else {
                let component = Component::deserialize_file(engine, path)?;
                Ok(Code::Component(ComponentCode::new(component, form)))
            }
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
