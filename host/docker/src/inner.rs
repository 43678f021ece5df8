//! What all containers of a node's engine share: the engine, the table of what runs, and the names of things.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bollard::errors::Error as ApiError;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wherry_base::{Clock, Drain};
use wherry_image::LinuxSource;
use wherry_runtime::PodRef;

use crate::container::DockerContainer;
use crate::create::Resolver;
use crate::engine::{ASK_MAX, Engine, EngineChoice, EngineError, within};
use crate::labels::{OWNER, Owner};
use crate::pulled::Pulled;
use crate::sandbox::Pods;
use crate::survivors::Left;

/// How much of a container's id its name has.
const NAME_ID_CHARS: usize = 12;

/// Below the node's data directory: which of the engine's images the node has brought there.
const PULLED: &str = "node/pulled-images.json";

/// How an answer reads that Podman gives of a container in between, and how long that may take to be over.
const IN_BETWEEN: &str = "unknown variant `stopped`";
const IN_BETWEEN_PAUSE: Duration = Duration::from_millis(50);

/// How a node's engine is used.
pub struct DockerConfig {
    /// Which engine.
    pub engine: EngineChoice,
    /// The node's name.
    pub node: String,
    /// The node's data directory: whose containers these are.
    pub data_dir: PathBuf,
    /// The pods' own directories: `NAMESPACE/UID` below this.
    pub pods_directory: PathBuf,
    /// Where images are that were loaded into the cluster.
    pub images: Option<Arc<dyn LinuxSource>>,
    /// Where pods ask for names.
    pub resolver: Resolver,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// The threads that carry what pods send.
    pub threads: Handle,
}

/// What all containers share.
pub struct Inner {
    pub owner: Owner,
    pub pods_directory: PathBuf,
    pub images: Option<Arc<dyn LinuxSource>>,
    pub pulled: Pulled,
    pub resolver: Resolver,
    pub clock: Arc<dyn Clock>,
    pub threads: Handle,
    pub engine: Engine,
    pub pods: Pods,
    pub left: Mutex<Left>,
    /// Cancelled when all pods of the node are known: what nobody knows then is an orphan.
    pub settled: CancellationToken,
    pub drain: Drain,
    containers: Mutex<HashMap<String, Weak<DockerContainer>>>,
}

impl Inner {
    pub fn new(config: DockerConfig, drain: Drain) -> Arc<Self> {
        let owner = Owner { node: config.node, directory: config.data_dir.display().to_string() };
        Arc::new(Self {
            owner,
            pods_directory: config.pods_directory,
            images: config.images,
            pulled: Pulled::open(config.data_dir.join(PULLED)),
            resolver: config.resolver,
            clock: config.clock,
            threads: config.threads,
            engine: Engine::new(&config.engine),
            pods: Pods::default(),
            left: Mutex::default(),
            settled: CancellationToken::new(),
            drain,
            containers: Mutex::default(),
        })
    }

    /// The containers that somebody follows, by name.
    pub fn containers(&self) -> MutexGuard<'_, HashMap<String, Weak<DockerContainer>>> {
        locked(&self.containers)
    }

    /// A container that somebody follows.
    pub fn container(&self, name: &str) -> Option<Arc<DockerContainer>> {
        self.containers().get(name).and_then(Weak::upgrade)
    }

    /// All that the engine knows of a container.
    pub async fn inspect(&self, name: &str) -> Result<ContainerInspectResponse, EngineError> {
        let engine = self.engine.get()?;
        within(ASK_MAX, settled(|| engine.api.inspect_container(name, None::<InspectContainerOptions>))).await
    }

    /// The containers of this node, running or not.
    pub async fn list(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let engine = self.engine.get()?;
        let options = ListContainersOptions { all: true, filters: Some(self.filters()), ..Default::default() };
        within(ASK_MAX, settled(|| engine.api.list_containers(Some(options.clone())))).await
    }

    /// What tells this node's containers from others'.
    pub fn filters(&self) -> HashMap<String, Vec<String>> {
        let label = format!("{OWNER}={}", self.owner.directory);
        HashMap::from([("label".to_owned(), vec![label])])
    }
}

/// Asks again while the answer is that a container is in between: Podman says `stopped` of one that has ended and is not tidied up
/// yet, which is no state of Docker's API.
async fn settled<T, F: Future<Output = Result<T, ApiError>>>(ask: impl Fn() -> F) -> Result<T, ApiError> {
    loop {
        match ask().await {
            Err(error) if error.to_string().contains(IN_BETWEEN) => tokio::time::sleep(IN_BETWEEN_PAUSE).await,
            answer => return answer,
        }
    }
}

/// The name of a container in the listing, which has a slash before it.
pub fn name_of(summary: &ContainerSummary) -> Option<&str> {
    summary.names.as_ref()?.first().map(|name| name.trim_start_matches('/'))
}

/// The name of a pod's container in the engine: for a person, and never the same twice.
pub fn container_name(pod: &PodRef, container: &str, id: &str) -> String {
    let unique: String = id.chars().take(NAME_ID_CHARS).collect();
    format!("{}_{}_{container}_{unique}", pod.namespace, pod.name)
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
