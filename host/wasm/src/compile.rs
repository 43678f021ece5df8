//! Compiling: a module, which may be hostile, through the compiler. Meant for a process of its own, whose answer is one line
//! with the form of the code, and the code.

use wherry_image::{Inspected, ModuleKind, inspect};

use crate::codes::Form;
use crate::engine::engine;

/// Compiles a module. The error is a sentence.
pub fn compile(module: &[u8], epochs: bool) -> Result<Vec<u8>, String> {
    let form = form_of(&inspect(module).map_err(|error| error.to_string())?, epochs);
    let code = code(form, module).map_err(|error| format!("{error:#}"))?;
    Ok([form.to_string().as_bytes(), b"\n", &code].concat())
}

/// Takes the answer apart.
pub(crate) fn parse(answer: &[u8]) -> Option<(Form, &[u8])> {
    let end = answer.iter().position(|&byte| byte == b'\n')?;
    let (form, code) = answer.split_at(end);
    Some((std::str::from_utf8(form).ok()?.parse().ok()?, code.get(1..)?))
}

fn form_of(module: &Inspected, epochs: bool) -> Form {
    let exports_p3 = matches!(module.kind, ModuleKind::Http3 | ModuleKind::Command3);
    let imports_p3 = module.imports.iter().any(|import| import.contains("@0.3."));
    Form::new(module.kind, exports_p3 || imports_p3, epochs)
}

fn code(form: Form, module: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let engine = engine(1, form.needs)?;
    let is_core = form.kind == ModuleKind::CoreCommand;
    if is_core { engine.precompile_module(module) } else { engine.precompile_component(module) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_line_and_the_rest() {
        let check = |answer: &[u8], expected: Option<(&str, &[u8])>| {
            let parsed = parse(answer).map(|(form, code)| (form.to_string(), code));
            assert_eq!(parsed, expected.map(|(form, code)| (form.to_owned(), code)));
        };
        check(b"core+epochs\n\n1", Some(("core+epochs", b"\n1")));
        check(b"core\n", Some(("core", b"")));
        for bad in [b"".as_slice(), b"core", b"cord\n1", b"\xff\n1"] {
            check(bad, None);
        }
    }

    #[test]
    fn what_is_no_module_is_said_to_be_none() {
        assert!(compile(b"MZ", true).unwrap_err().starts_with("not a valid wasm module"));
    }
}
