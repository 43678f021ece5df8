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
use wherry_image::{ImageSource, ModuleKind};
use wherry_runtime::{
    Compiler, Container, ContainerSpec, GivenCode, Image, ImageError, PullPolicy, Runtime, StartError,
};

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
use crate::throttle::Cpu;
use crate::ticker::Ticker;

/// Where an HTTP module is served that names no port.
const HTTP_PORT_DEFAULT: u16 = 8080;

/// How the runtime is set up.
#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// Where modules and compiled code are kept; where code is given, only files that containers mount.
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
    /// Compiles nothing yet.
    pub fn new(config: WasmConfig, source: Arc<dyn ImageSource>) -> Result<Self, SetupError> {
        maps::warn_if_few(config.requests_max, config.commands_max);
        let directory = config.directory.clone();
        let mut runtime = Self::given(config)?;
        runtime.images = Some(Arc::new(Images::open(source, &directory)?));
        Ok(runtime)
    }

    /// Compiles the same images without epochs, for processes that the operating system limits and ends. `None` where
    /// code is given.
    pub fn compiler_without_epochs(&self) -> Option<Arc<dyn Compiler>> {
        let images = self.images.clone()?;
        let codes = Codes::new(Arc::clone(&self.codes.engines), false);
        Some(Arc::new(WithoutEpochs { images, codes, release: self.release.clone() }))
    }

    /// A runtime that compiles nothing and knows no images: it is given code.
    pub fn given(config: WasmConfig) -> Result<Self, SetupError> {
        let engines = Engines::new(config.requests_max);
        let mounts = config.directory.join("mounts");
        // What an earlier process left behind.
        drop(std::fs::remove_dir_all(&mounts));
        Ok(Self {
            codes: Codes::new(Arc::clone(&engines), true),
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
        Ok(Resources {
            memory: Memory::new(spec.limits.memory_bytes),
            cpu: Cpu::new(spec.limits.cpu_milli, Arc::clone(&self.ticker)),
            _files: Arc::new(wherry_runtime::stage(spec, &self.mounts)?),
        })
    }

    fn command_place(&self, needed: u32) -> Result<Place, StartError> {
        self.places.command(needed).ok_or_else(|| StartError {
            reason: "RunContainerError",
            message: "no place is left: as many command modules as may be run in this process already".to_owned(),
        })
    }

    fn start_component(
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
                self.start_http(ProxyPre::P2(pre), needed, spec, resources)
            }
            ModuleKind::Http3 => {
                let pre = wasmtime_wasi_http::p3::bindings::ServicePre::new(pre).map_err(|e| unstartable(&e))?;
                self.start_http(ProxyPre::P3(pre), needed, spec, resources)
            }
            _ => {
                let stopping = CancellationToken::new();
                let state = State::new(&spec, &resources.memory, stopping.clone())?;
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
        let state = CoreState::new(&spec, &resources.memory, &stopping)?;
        let place = self.command_place(needed(Some(&code.resources_required())))?;
        let guest = core_module(pre, spec, state, resources.clone()).inspect(|_| drop(place));
        Ok(Running::spawn(&self.guests, resources, stopping, guest))
    }

    fn start_http(
        &self,
        pre: ProxyPre<State>,
        needed: u32,
        spec: Arc<ContainerSpec>,
        resources: Resources,
    ) -> Result<Arc<Running>, StartError> {
        // What would fail each request fails the start.
        drop(State::new(&spec, &resources.memory, CancellationToken::new())?);
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
        let listener = spec.network.listen_http(port, handler).map_err(|e| StartError {
            reason: "RunContainerError",
            message: format!("cannot serve on port {port}: {e}"),
        })?;
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

    async fn prepare(&self, reference: &str, policy: PullPolicy) -> Result<Image, ImageError> {
        let images = self.images.as_ref().ok_or_else(|| ImageError::NeverPull(reference.to_owned()))?;
        images.prepare(&self.codes, reference, policy).await
    }

    async fn start(&self, mut spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let gone = || StartError {
            reason: "CreateContainerError",
            message: format!("the image {} is not prepared", spec.image.reference),
        };
        let code = self.codes.code(&spec.image.digest).ok_or_else(gone)?.map_err(|e| unstartable(&e))?;
        let resources = self.resources(&mut spec)?;
        let spec = Arc::new(spec);
        match code {
            Code::Core(module, form) => Ok(self.start_core(&module, form, spec, resources)?),
            Code::Component(code) => Ok(self.start_component(&code, spec, resources)?),
        }
    }
}

#[async_trait]
impl Compiler for WasmRuntime {
    async fn prepare(&self, reference: &str, policy: PullPolicy) -> Result<Image, ImageError> {
        Runtime::prepare(self, reference, policy).await
    }

    fn code(&self, digest: &str) -> io::Result<wherry_runtime::Code> {
        self.images.as_ref().ok_or(io::ErrorKind::NotFound)?.compiled(&self.codes, digest)
    }

    fn engine(&self) -> String {
        self.release.clone()
    }
}

/// The images of a runtime, compiled without epochs.
struct WithoutEpochs {
    images: Arc<Images>,
    codes: Arc<Codes>,
    release: String,
}

#[async_trait]
impl Compiler for WithoutEpochs {
    async fn prepare(&self, reference: &str, policy: PullPolicy) -> Result<Image, ImageError> {
        self.images.prepare(&self.codes, reference, policy).await
    }

    fn code(&self, digest: &str) -> io::Result<wherry_runtime::Code> {
        self.images.compiled(&self.codes, digest)
    }

    fn engine(&self) -> String {
        self.release.clone()
    }
}

impl GivenCode for WasmRuntime {
    fn install(&self, digest: &str, code: wherry_runtime::Code) -> Result<(), ImageError> {
        let form = code.form.parse().map_err(ImageError::Unusable)?;
        self.codes.install(digest, form, code.file);
        Ok(())
    }

    fn engine(&self) -> String {
        self.release.clone()
    }
}
