//! The runtime: images become code, container specs become running guests.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::handler::ProxyPre;
use wherry_image::ModuleKind;
use wherry_runtime::{
    Container, ContainerSpec, GivenCode, Image, ImageError, ImageRequest, Runtime, StartError, Terminal,
};
use wherry_vnet::BindError;

use crate::codes::{Code, Codes, ComponentCode, Form};
use crate::command::{component, core_module, unstartable};
use crate::container::{Resources, Running};
use crate::engine::{Engines, release};
use crate::images::Images;
use crate::limits::Memory;
use crate::maps;
use crate::places::{Place, Places, needed};
use crate::serve::{Handler, Service, serve};
use crate::state::{CoreState, State};
use crate::stdin::Input;
use crate::terminal::Tty;
use crate::throttle::Cpu;
use crate::ticker::Ticker;

/// Where an HTTP module is served that names no port.
const HTTP_PORT_DEFAULT: u16 = 8080;

/// How the runtime is set up.
#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// Where files are shown that containers mount.
    pub directory: PathBuf,
    /// How many HTTP requests are answered at once; further ones wait.
    pub requests_max: u32,
    /// How many commands run at once; further ones fail to start.
    pub commands_max: u32,
    /// The threads that guests run on: not those of the control plane, so that no guest stalls it.
    pub guests: Handle,
}

/// Why the runtime cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The engine refused its settings.
    #[error("the wasm engine cannot be set up: {0}")]
    Engine(wasmtime::Error),
    /// The directory, or the thread.
    #[error("the wasm runtime cannot be set up: {0}")]
    Io(#[from] io::Error),
}

/// Runs WASI modules.
pub struct WasmRuntime {
    /// Tells the code that runs here from that of other releases.
    release: String,
    codes: Arc<Codes>,
    /// None where code is given.
    images: Option<Arc<Images>>,
    ticker: Arc<Ticker>,
    places: Places,
    guests: Handle,
    /// Where containers' mounted files are shown.
    mounts: PathBuf,
}

impl WasmRuntime {
    /// One that has loaded nothing yet.
    pub fn new(config: WasmConfig, images: Arc<Images>) -> Result<Self, SetupError> {
        maps::warn_if_few(config.requests_max, config.commands_max);
        let mut runtime = Self::given(config)?;
        runtime.images = Some(images);
        Ok(runtime)
    }

    /// A runtime that compiles nothing and knows no images: it is given code.
    pub fn given(config: WasmConfig) -> Result<Self, SetupError> {
        let engines = Engines::new(config.requests_max);
        let mounts = config.directory.join("mounts");
        // What an earlier process left behind.
        drop(std::fs::remove_dir_all(&mounts));
        Ok(Self {
            codes: Codes::new(Arc::clone(&engines)),
            release: release().map_err(SetupError::Engine)?,
            images: None,
            ticker: Ticker::start(engines)?,
            places: Places::new(config.commands_max, config.requests_max),
            guests: config.guests,
            mounts,
        })
    }

    /// What the container's instances share; its mounts of files become mounts of directories.
    fn resources(&self, spec: &mut ContainerSpec) -> Result<Resources, StartError> {
        let input = spec.stdin.then(Input::new);
        Ok(Resources {
            memory: Memory::new(spec.limits.memory_bytes),
            cpu: Cpu::new(spec.limits.cpu_milli, Arc::clone(&self.ticker)),
            terminal: self.terminal(spec, input.as_ref())?,
            input,
            _files: Arc::new(wherry_runtime::stage(spec, &self.mounts)?),
        })
    }

    fn terminal(&self, spec: &mut ContainerSpec, input: Option<&Arc<Input>>) -> Result<Option<Arc<Tty>>, StartError> {
        if !spec.tty {
            return Ok(None);
        }
        let _on_guests_threads = self.guests.enter();
        let given = spec.terminal.take().and_then(Arc::into_inner);
        let opened = given.map_or_else(Terminal::open, Ok);
        let input = input.map(|input| (Arc::clone(input), spec.stdin_once));
        let tty = opened.and_then(|terminal| Tty::new(terminal, input, Arc::clone(&spec.logs)));
        tty.map(Some).map_err(|error| StartError {
            reason: "CreateContainerError",
            message: format!("the container's terminal: {error}"),
        })
    }

    fn command_place(&self, needed: u32) -> Result<Place, StartError> {
        self.places.command(needed).ok_or_else(|| StartError {
            reason: "RunContainerError",
            message: "no place is left: as many command modules as may be run in this process already".to_owned(),
        })
    }

    async fn start_component(
        &self,
        code: &ComponentCode,
        spec: Arc<ContainerSpec>,
        resources: Resources,
    ) -> Result<Arc<Running>, StartError> {
        let ComponentCode { component: module, form, .. } = code;
        let world = self.codes.engines.world(form.needs).map_err(|e| unstartable(&e))?;
        let pre = code.linked(&world.components).map_err(|e| unstartable(&e))?;
        let needed = needed(module.resources_required().as_ref());
        match form.kind {
            ModuleKind::Http2 => {
                let pre = wasmtime_wasi_http::p2::bindings::ProxyPre::new(pre).map_err(|e| unstartable(&e))?;
                self.start_http(ProxyPre::P2(pre), needed, spec, resources).await
            }
            ModuleKind::Http3 => {
                let pre = wasmtime_wasi_http::p3::bindings::ServicePre::new(pre).map_err(|e| unstartable(&e))?;
                self.start_http(ProxyPre::P3(pre), needed, spec, resources).await
            }
            _ => {
                let stopping = CancellationToken::new();
                let state = State::new(&spec, &resources, stopping.clone())?;
                let (own, is_p3) = (resources.clone(), form.kind == ModuleKind::Command3);
                let place = self.command_place(needed)?;
                let guest = component(pre, is_p3, spec, state, own).inspect(|_| drop(place));
                Ok(Running::spawn(&self.guests, resources, stopping, guest))
            }
        }
    }

    fn start_core(
        &self,
        code: &wasmtime::Module,
        form: Form,
        spec: Arc<ContainerSpec>,
        resources: Resources,
    ) -> Result<Arc<Running>, StartError> {
        let world = self.codes.engines.world(form.needs).map_err(|e| unstartable(&e))?;
        let pre = world.core_modules.instantiate_pre(code).map_err(|e| unstartable(&e))?;
        let stopping = CancellationToken::new();
        let state = CoreState::new(&spec, &resources, &stopping)?;
        let place = self.command_place(needed(Some(&code.resources_required())))?;
        let guest = core_module(pre, spec, state, resources.clone()).inspect(|_| drop(place));
        Ok(Running::spawn(&self.guests, resources, stopping, guest))
    }

    async fn start_http(
        &self,
        pre: ProxyPre<State>,
        needed: u32,
        spec: Arc<ContainerSpec>,
        resources: Resources,
    ) -> Result<Arc<Running>, StartError> {
        // What would fail each request fails the start.
        drop(State::new(&spec, &resources, CancellationToken::new())?);
        let port = spec.http_port.unwrap_or(HTTP_PORT_DEFAULT);
        let service = Arc::new(Service {
            pre,
            spec: Arc::clone(&spec),
            resources: resources.clone(),
            places: self.places.requests(needed),
            handle: self.guests.clone(),
            requests: TaskTracker::new(),
            killed: CancellationToken::new(),
            ruin: watch::Sender::new(None),
        });
        let handler = Arc::new(Handler(Arc::clone(&service)));
        let unserved = |error: BindError| StartError {
            reason: "RunContainerError",
            message: format!("cannot serve on port {port}: {error}"),
        };
        let listener = spec.network.listen_http(port, handler).map_err(unserved)?.settled().await.map_err(unserved)?;
        let stopping = CancellationToken::new();
        let serving = serve(service, listener, stopping.clone());
        Ok(Running::spawn(&self.guests, resources, stopping, serving))
    }
}

#[async_trait]
impl Runtime for WasmRuntime {
    fn name(&self) -> &'static str {
        "wasm"
    }

    async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError> {
        let reference = wanted.reference;
        let images = self.images.as_ref().ok_or_else(|| ImageError::NeverPull(reference.to_owned()))?;
        let image = images.prepare(wanted, true).await?;
        if self.codes.get(&image.digest).is_none() {
            let unusable = |why: String| ImageError::Unusable(format!("{reference}: {why}"));
            let code = images.code(&image.digest, true).map_err(|error| unusable(error.to_string()))?;
            let (codes, digest) = (Arc::clone(&self.codes), image.digest.clone());
            let loaded = tokio::task::spawn_blocking(move || install(&codes, &digest, &code)).await;
            loaded.map_err(|error| error.to_string()).flatten().map_err(unusable)?;
        }
        Ok(image)
    }

    async fn start(&self, mut spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let gone = || StartError {
            reason: "CreateContainerError",
            message: format!("the image {} is not prepared", spec.image.reference),
        };
        let code = self.codes.get(&spec.image.digest).ok_or_else(gone)?;
        let resources = self.resources(&mut spec)?;
        let spec = Arc::new(spec);
        match code {
            Code::Core(module, form) => Ok(self.start_core(&module, form, spec, resources)?),
            Code::Component(code) => Ok(self.start_component(&code, spec, resources).await?),
        }
    }
}

impl GivenCode for WasmRuntime {
    fn install(&self, digest: &str, code: wherry_runtime::Code) -> Result<(), ImageError> {
        install(&self.codes, digest, &code).map_err(ImageError::Unusable)
    }

    fn engine(&self) -> String {
        self.release.clone()
    }
}

/// The error is a sentence.
fn install(codes: &Codes, digest: &str, code: &wherry_runtime::Code) -> Result<(), String> {
    codes.install(digest, code.form.parse()?, &code.file).map_err(|error| format!("{error:#}"))
}
