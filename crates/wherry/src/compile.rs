//! A compiler's role: this process turns the module on its standard input into code on its standard output, and may do
//! nothing else.

use std::io::{Read, Write, stdin, stdout};

use anyhow::Context;
use wherry_sandbox::confine_compiler;

use crate::config::CompileArgs;

/// Compiles. To be called before this process has any thread.
pub fn run(args: &CompileArgs) -> anyhow::Result<()> {
    confine_compiler(args.user)?;
    let mut module = Vec::new();
    stdin().read_to_end(&mut module).context("the module cannot be read")?;
    let code = wherry_wasm::compile(&module, !args.without_epochs).map_err(anyhow::Error::msg)?;
    stdout().write_all(&code).context("the code cannot be written")
}
