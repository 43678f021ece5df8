//! Commands: components that export `wasi:cli/run` (0.2 or 0.3), and core modules of WASI 0.1. They live until they exit.

use std::pin::pin;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::InstancePre;
use wherry_runtime::{ContainerSpec, Exit, StartError};

use crate::container::{Resources, exited, failed};
use crate::state::{CoreState, RESOURCES_MAX, State};
use crate::throttle::Throttled;

/// How much a component may hand over in one call of the host: more than any interface here takes at once.
const HOSTCALL_BYTES_MAX: usize = 4 << 20;

/// Runs a component of `wasi:cli` to its end.
pub(crate) async fn component(
    pre: InstancePre<State>,
    is_p3: bool,
    spec: Arc<ContainerSpec>,
    state: State,
    resources: Resources,
) -> Exit {
    let mut store = Store::new(pre.engine(), state);
    prepare(&mut store);
    store.limiter(|state| &mut state.share);
    let guest = async move { if is_p3 { run_p3(&mut store, &pre).await } else { run_p2(&mut store, &pre).await } };
    finish(guest, &spec, resources).await
}

/// Runs a core module of WASI 0.1 to its end.
pub(crate) async fn core_module(
    pre: wasmtime::InstancePre<CoreState>,
    spec: Arc<ContainerSpec>,
    state: CoreState,
    resources: Resources,
) -> Exit {
    let mut store = Store::new(pre.module().engine(), state);
    yield_at_epochs(&mut store);
    store.limiter(|state| &mut state.share);
    let guest = async move {
        let instance = pre.instantiate_async(&mut store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await?;
        Ok(Ok(()))
    };
    finish(guest, &spec, resources).await
}

/// A component's store: its guest makes the host hold no more than so much beside its own memory.
///
/// WASI 0.1 is left with the default of wasmtime: a write there is one call, however large, and is not cut in pieces.
pub(crate) fn prepare(store: &mut Store<State>) {
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_max_component_handles(RESOURCES_MAX);
    yield_at_epochs(store);
}

/// A guest yields at each epoch, so that nobody waits for it longer than that.
fn yield_at_epochs<T>(store: &mut Store<T>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
}

async fn run_p2(store: &mut Store<State>, pre: &InstancePre<State>) -> wasmtime::Result<Result<(), ()>> {
    let command = wasmtime_wasi::p2::bindings::CommandPre::new(pre.clone())?.instantiate_async(&mut *store).await?;
    command.wasi_cli_run().call_run(store).await
}

async fn run_p3(store: &mut Store<State>, pre: &InstancePre<State>) -> wasmtime::Result<Result<(), ()>> {
    let command = wasmtime_wasi::p3::bindings::CommandPre::new(pre.clone())?.instantiate_async(&mut *store).await?;
    store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await).await?
}

async fn finish(
    guest: impl Future<Output = wasmtime::Result<Result<(), ()>>>,
    spec: &ContainerSpec,
    resources: Resources,
) -> Exit {
    match Throttled::new(pin!(guest), &resources.cpu).await {
        Ok(Ok(())) => exited(0),
        Ok(Err(())) => exited(1),
        Err(error) => failed(spec, &error),
    }
}

/// The error of a module that cannot be instantiated.
pub(crate) fn unstartable(error: &wasmtime::Error) -> StartError {
    StartError { reason: "CreateContainerError", message: format!("{error:#}") }
}
