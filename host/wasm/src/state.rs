//! What an instance has: its resources, its directories and output, its network, its share of memory.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wherry_runtime::{ContainerSpec, StartError, StdStream};
use wherry_vnet::Namespace;

use crate::container::Resources;
use crate::limits::Share;
use crate::outgoing::Outgoing;
use crate::sockets::{NetView, NetworkView};
use crate::stdin::Stdin;
use crate::stdio::Log;
use crate::terminal::Screen;

/// How many resources (streams, sockets, requests) one instance may hold.
pub(crate) const RESOURCES_MAX: usize = 16_384;

/// How many files a WASI 0.1 program may have open, streams included: as many as a process by default on Linux.
const FILES_MAX: usize = 1024;

/// Store data of a component.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Outgoing,
    table: ResourceTable,
    net: Arc<Namespace>,
    stopping: CancellationToken,
    pub(crate) share: Share,
}

/// Store data of a core module of WASI 0.1.
pub(crate) struct CoreState {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) share: Share,
}

impl State {
    /// `stopping` closes the instance's listeners and ends its stdin: a container's SIGTERM.
    pub(crate) fn new(
        spec: &ContainerSpec,
        resources: &Resources,
        stopping: CancellationToken,
    ) -> Result<Self, StartError> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Ok(Self {
            wasi: context(spec, resources, &stopping)?.build(),
            http: WasiHttpCtx::new(),
            hooks: Outgoing::new(Arc::clone(&spec.network)),
            table,
            net: Arc::clone(&spec.network),
            stopping,
            share: Share::of(&resources.memory),
        })
    }
}

impl CoreState {
    /// `stopping` ends the instance's stdin.
    pub(crate) fn new(
        spec: &ContainerSpec,
        resources: &Resources,
        stopping: &CancellationToken,
    ) -> Result<Self, StartError> {
        let mut wasi = context(spec, resources, stopping)?.build_p1();
        wasi.ctx().table.set_max_capacity(FILES_MAX);
        Ok(Self { wasi, share: Share::of(&resources.memory) })
    }
}

/// Deny by default: only what the container names.
fn context(
    spec: &ContainerSpec,
    resources: &Resources,
    stopping: &CancellationToken,
) -> Result<WasiCtxBuilder, StartError> {
    let mut builder = WasiCtx::builder();
    builder.envs(&spec.env);
    let name = spec.command.is_empty().then_some(&spec.name);
    let words: Vec<&String> = name.into_iter().chain(&spec.command).chain(&spec.args).collect();
    builder.args(&words);
    match &resources.terminal {
        Some(terminal) => {
            builder.stdout(Screen::new(Arc::clone(terminal)));
            builder.stderr(Screen::new(Arc::clone(terminal)));
        }
        None => {
            builder.stdout(Log { sink: Arc::clone(&spec.logs), stream: StdStream::Out });
            builder.stderr(Log { sink: Arc::clone(&spec.logs), stream: StdStream::Err });
        }
    }
    if let Some(input) = &resources.input {
        let (input, stopping) = (Arc::clone(input), stopping.clone());
        builder.stdin(Stdin { input, stopping, is_terminal: resources.terminal.is_some() });
    }
    if !spec.working_dir.is_empty() {
        builder.initial_cwd(&spec.working_dir);
    }
    for mount in &spec.mounts {
        let permissions = if mount.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
        builder.preopened_dir(&mount.host, &mount.guest, permissions).map_err(|e| StartError {
            reason: "CreateContainerError",
            message: format!("cannot mount {} at {}: {e}", mount.host.display(), mount.guest),
        })?;
    }
    Ok(builder)
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl NetworkView for State {
    fn network(&mut self) -> NetView<'_> {
        NetView { net: &self.net, stopping: &self.stopping, table: &mut self.table }
    }
}
