//! The runtimes of a node: those of modules, and that of Linux images where there is an engine for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use ipnet::IpNet;
use tokio::runtime::Handle;
use wherry_agent::Runtimes;
use wherry_base::{Clock, Drain};
use wherry_docker::{DockerConfig, DockerRuntime, EngineChoice, Resolver};
use wherry_image::LinuxSource;
use wherry_runtime::{ImageStore, Runtime};
use wherry_sandbox::{Grouping, RuntimeConfig, SandboxRuntime, Sandboxes};
use wherry_wasm::{Images, WasmConfig, WasmRuntime};

use crate::config::{Isolation, NodeFlags};
use crate::data_dir::DataDir;

/// How many requests and commands run at once in the node's process: as many as the 65,530 memory maps suffice for that Linux
/// gives a process by default.
const REQUESTS_MAX: u32 = 4096;
const COMMANDS_MAX: u32 = 3072;
/// Where the agent has the pods' own directories.
const PODS: &str = "node/pods";
/// The cluster's domain, and which address of the Services' range answers for its names: as Kubernetes' installers choose.
const DOMAIN: &str = "cluster.local";
const DNS_NUMBER: usize = 10;

/// The runtimes of modules, which every node has: of the class `wasm` and of none, and of the class `wasm-isolated`.
const MODULES: [&str; 2] = ["wasm", "wasm-isolated"];

/// The labels of a Node that say so.
pub fn labels() -> impl Iterator<Item = (String, String)> {
    MODULES.into_iter().map(|name| (wherry_agent::runtime_label(name), "true".to_owned()))
}

/// What the runtimes of modules are made of.
pub struct Modules<'a> {
    /// Where modules run whose pods name no class.
    pub isolation: Isolation,
    /// Where volumes and modules are.
    pub data: &'a DataDir,
    /// The threads that guests run on.
    pub threads: &'a Handle,
    /// The modules.
    pub images: &'a Arc<Images>,
    /// The sandboxes.
    pub sandboxes: &'a Arc<Sandboxes>,
}

impl Modules<'_> {
    /// The runtimes that pods may ask for, that of Linux images among them where there is one.
    pub fn runtimes(&self, docker: Option<Arc<DockerRuntime>>) -> anyhow::Result<Runtimes> {
        let [usual, isolated] = MODULES;
        let usual: Arc<dyn Runtime> = match self.isolation {
            Isolation::Namespace => self.sandboxed(usual, Grouping::Namespace)?,
            Isolation::Shared => {
                let wasm = WasmConfig {
                    directory: self.data.join("wasm"),
                    requests_max: REQUESTS_MAX,
                    commands_max: COMMANDS_MAX,
                    guests: self.threads.clone(),
                };
                Arc::new(WasmRuntime::new(wasm, Arc::clone(self.images))?)
            }
        };
        let isolated = self.sandboxed(isolated, Grouping::Pod)?;
        let modules: Arc<dyn ImageStore> = Arc::clone(self.images) as _;
        let linux = docker.clone().map(|docker| docker as Arc<dyn ImageStore>);
        let docker = docker.map(|docker| docker as Arc<dyn Runtime>);
        let runtimes = Runtimes::new(std::iter::once(usual).chain(docker).collect(), vec![isolated]);
        Ok(runtimes.with_stores(std::iter::once(modules).chain(linux).collect()))
    }

    /// Code of those that share a process yields by itself.
    fn sandboxed(&self, name: &'static str, grouping: Grouping) -> anyhow::Result<Arc<SandboxRuntime>> {
        let compiler = self.images.compiler(grouping == Grouping::Namespace)?;
        let sandboxes = Arc::clone(self.sandboxes);
        let (pods_directory, code_directory) = (self.data.join(PODS), self.data.join("wasm/compiled"));
        let config = RuntimeConfig { name, grouping, sandboxes, compiler, pods_directory, code_directory };
        Ok(Arc::new(SandboxRuntime::new(config)))
    }
}

/// What the runtime of Linux images is made of.
pub struct Linux<'a> {
    /// Which engine, and the node's name.
    pub flags: &'a NodeFlags,
    /// Whose containers they are.
    pub data: &'a DataDir,
    /// The addresses of all Services.
    pub services: IpNet,
    /// Where images are that were loaded into the cluster.
    pub images: Option<Arc<dyn LinuxSource>>,
    /// The machine's clock.
    pub clock: &'a Arc<dyn Clock>,
    /// The threads that carry what pods send.
    pub threads: &'a Handle,
}

impl Linux<'_> {
    /// The runtime, unless it is switched off; what an earlier process of the node has left there is known then.
    pub async fn runtime(self, drain: &Drain) -> anyhow::Result<Option<Arc<DockerRuntime>>> {
        if self.flags.docker == EngineChoice::Off {
            return Ok(None);
        }
        let address = self.services.hosts().nth(DNS_NUMBER - 1);
        let address = address.context("the range of Services is too small for a name server")?;
        let config = DockerConfig {
            engine: self.flags.docker.clone(),
            node: self.flags.name.clone(),
            data_dir: absolute(&self.data.join(""))?,
            pods_directory: absolute(&self.data.join(""))?.join(PODS),
            images: self.images,
            resolver: Resolver { address, domain: DOMAIN },
            clock: Arc::clone(self.clock),
            threads: self.threads.clone(),
        };
        Ok(Some(DockerRuntime::open(config, drain).await))
    }
}

fn absolute(directory: &Path) -> anyhow::Result<PathBuf> {
    directory.canonicalize().with_context(|| format!("{} cannot be found", directory.display()))
}
