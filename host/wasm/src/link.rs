//! What a guest may import: WASI 0.1, 0.2, and 0.2 with 0.3, on a linker each.
//!
//! wasmtime-wasi's own sockets are shadowed by those over the pod's network, or left out; its context denies them
//! besides.

use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi::p3;

use crate::sockets;
use crate::state::{CoreState, State};

/// The linker of components of WASI 0.2.
pub(crate) fn components(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    sockets::add_to_linker(&mut linker)?;
    linker.allow_shadowing(false);
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}

/// The linker of components of WASI 0.3, which may import 0.2 beside it, as Rust's standard library does.
pub(crate) fn concurrent_components(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = components(engine)?;
    p3::cli::add_to_linker(&mut linker)?;
    p3::clocks::add_to_linker(&mut linker)?;
    p3::filesystem::add_to_linker(&mut linker)?;
    p3::random::add_to_linker(&mut linker)?;
    sockets::add_version3_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// The linker of core modules.
pub(crate) fn core_modules(engine: &Engine) -> wasmtime::Result<wasmtime::Linker<CoreState>> {
    let mut linker = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut CoreState| &mut state.wasi)?;
    Ok(linker)
}
