//! One node for all tests of this binary (and a small one to fill): a runtime, a pod network whose names a test gives,
//! and the guest examples as images. Compiled code is kept from one run of the tests to the next.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use wherry_image::{FetchError, ImageSource, Reference};
use wherry_runtime::{
    Codegen, Container, ContainerSpec, Exit, ImageRequest, Limits, LogSink, Login, Mount, PodRef, PullPolicy, Runtime,
    Security, StartError, StdStream,
};
use wherry_vnet::{
    Egress, Namespace, Network, NetworkConfig, PodIdentity, Protocol, Resolution, Services, Translation,
};
use wherry_wasm::{Images, WasmConfig, WasmRuntime};

/// How long anything may take before a test gives up. Generous: it is reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(120);
const REQUESTS_MAX: u32 = 64;
const COMMANDS_MAX: u32 = 48;
/// The same on the small node.
const SMALL_REQUESTS_MAX: u32 = 8;
pub const SMALL_COMMANDS_MAX: u32 = 6;
const POLL: Duration = Duration::from_millis(1);

/// Modules that no compiler here makes: `_start` allocates a struct on the garbage-collected heap.
const BY_HAND: [(&str, &[u8]); 1] = [(
    "garbage",
    b"\0asm\x01\0\0\0\x01\x08\x02\x5f\x01\x7f\0\x60\0\0\x03\x02\x01\x01\x07\x0a\x01\x06_start\0\0\x0a\x08\x01\x06\0\xfb\x01\0\x1a\x0b",
)];

static NODE: LazyLock<Node> = LazyLock::new(|| Node::new("wasm", REQUESTS_MAX, COMMANDS_MAX));
static SMALL: LazyLock<Node> = LazyLock::new(|| Node::new("wasm-small", SMALL_REQUESTS_MAX, SMALL_COMMANDS_MAX));

struct Node {
    control: tokio::runtime::Runtime,
    _guests: tokio::runtime::Runtime,
    runtime: WasmRuntime,
    network: Arc<Network>,
    names: Arc<Names>,
    pods: AtomicU32,
}

/// The guest examples as a registry.
struct Examples;

/// Compiles where it is.
struct InProcess;

/// What a test has named.
#[derive(Default)]
struct Names(Mutex<HashMap<String, IpAddr>>);

/// What a container has written.
#[derive(Default)]
pub struct Log(Mutex<Vec<u8>>);

/// A pod: a network that its containers share.
pub struct Pod {
    node: &'static Node,
    pub network: Arc<Namespace>,
}

/// A container to start.
pub struct Guest {
    pub image: &'static str,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub limits: Limits,
    pub http_port: Option<u16>,
    pub stdin: bool,
}

/// A container that was started.
pub struct Started {
    pub container: Arc<dyn Container>,
    pub log: Arc<Log>,
}

impl Node {
    fn new(folder: &str, requests_max: u32, commands_max: u32) -> Self {
        let threads = |name: &str| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name(name)
                .enable_all()
                .build()
                .unwrap()
        };
        let (control, guests) = (threads("control"), threads("guests"));
        let names = Arc::new(Names::default());
        let config = NetworkConfig {
            pod_cidr: "10.128.0.0/16".parse().unwrap(),
            cluster_cidr: "10.128.0.0/10".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: "10.128.0.1".parse().unwrap(),
        };
        let network = Network::new(config, Arc::clone(&names) as _);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let config = WasmConfig { directory, requests_max, commands_max, guests: guests.handle().clone() };
        let images = Images::open(Arc::new(Examples), Arc::new(InProcess), &config.directory).unwrap();
        let runtime = WasmRuntime::new(config, images).unwrap();
        Self { control, _guests: guests, runtime, network, names, pods: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Codegen for InProcess {
    async fn generate(&self, module: Bytes, epochs: bool) -> Result<Vec<u8>, String> {
        wherry_wasm::compile(&module, epochs)
    }
}

#[async_trait]
impl ImageSource for Examples {
    async fn resolve(&self, reference: &Reference, _: &[Login]) -> Result<String, FetchError> {
        let hash = Sha256::digest(module(reference)?);
        Ok(hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}")))
    }

    async fn fetch(&self, reference: &Reference, _: &str, _: &[Login]) -> Result<Bytes, FetchError> {
        module(reference).map(Bytes::from_static)
    }
}

fn module(reference: &Reference) -> Result<&'static [u8], FetchError> {
    let name = reference.to_string();
    let short = name.rsplit('/').next().and_then(|last| last.split(':').next()).unwrap_or_default();
    let by_hand = BY_HAND.iter().find(|(guest, _)| *guest == short).map(|(_, module)| *module);
    wherry_guests::guest(short).or(by_hand).ok_or(FetchError::NotFound(name))
}

impl Services for Names {
    fn translate(&self, _: Protocol, _: IpAddr, _: SocketAddr) -> Translation {
        Translation::Direct
    }

    fn resolve(&self, _: &str, name: &str) -> Resolution {
        let names = self.0.lock().unwrap();
        match names.get(name) {
            Some(address) => Resolution::Addresses(vec![*address]),
            None if name.contains('.') => Resolution::Foreign,
            None => Resolution::Missing,
        }
    }
}

impl LogSink for Log {
    fn write(&self, _: StdStream, chunk: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(chunk);
    }
}

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Runs a test on the node's threads.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    NODE.control.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test takes too long") })
}

/// Runs something beside the test, to its end or the process's.
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    NODE.control.handle().spawn(task);
}

/// Asks until it is so.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(POLL).await;
    }
}

/// The node's side of the network.
pub fn network() -> &'static Arc<Network> {
    &NODE.network
}

/// Gives an address a name.
pub fn name(name: &str, address: IpAddr) {
    NODE.names.0.lock().unwrap().insert(name.to_owned(), address);
}

impl Guest {
    pub fn new(image: &'static str, args: &[&str]) -> Self {
        let args = args.iter().map(|&word| word.to_owned()).collect();
        let (env, mounts, limits) = (Vec::new(), Vec::new(), Limits::default());
        Self { image, args, env, mounts, limits, http_port: None, stdin: false }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn mount(mut self, host: &Path, guest: &str, read_only: bool) -> Self {
        self.mounts.push(Mount { host: host.to_owned(), guest: guest.to_owned(), read_only });
        self
    }

    pub fn memory(mut self, bytes: u64) -> Self {
        self.limits.memory_bytes = Some(bytes);
        self
    }

    pub fn cpu(mut self, milli: u32) -> Self {
        self.limits.cpu_milli = Some(milli);
        self
    }

    /// Runs in a pod of its own to its end: how it ended, and what it wrote.
    pub async fn outcome(self) -> (Exit, String) {
        let started = Pod::new().start(self).await;
        let exit = started.container.exited().await;
        (exit, started.log.text())
    }
}

impl Pod {
    pub fn new() -> Self {
        Self::on(&NODE)
    }

    /// A pod of the node that is easy to fill.
    pub fn on_the_small_node() -> Self {
        Self::on(&SMALL)
    }

    fn on(node: &'static Node) -> Self {
        let name = format!("pod-{}", node.pods.fetch_add(1, Ordering::Relaxed));
        let identity = PodIdentity { namespace: "default".into(), uid: name.clone(), name };
        let network = node.network.namespace(identity, Egress::Denied).unwrap();
        Self { node, network }
    }

    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.network.address(), port)
    }

    pub async fn start(&self, guest: Guest) -> Started {
        self.try_start(guest).await.unwrap()
    }

    pub async fn try_start(&self, guest: Guest) -> Result<Started, StartError> {
        let log = Arc::new(Log::default());
        let identity = self.network.pod();
        let image = format!("{}:v1", guest.image);
        let spec = ContainerSpec {
            run: 0,
            id: format!("{}-{}", identity.name, self.node.pods.fetch_add(1, Ordering::Relaxed)),
            pod: PodRef { namespace: "default".into(), name: identity.name.clone(), uid: identity.uid.clone() },
            name: guest.image.to_owned(),
            image: self.node.runtime.prepare(&ImageRequest::new(&image, PullPolicy::Always)).await.unwrap(),
            command: Vec::new(),
            args: guest.args,
            env: guest.env,
            working_dir: String::new(),
            mounts: guest.mounts,
            host_directories: Vec::new(),
            limits: guest.limits,
            cpu_requested_milli: 0,
            security: Security::default(),
            hostname: String::new(),
            network: Arc::clone(&self.network),
            http_port: guest.http_port,
            logs: Arc::clone(&log) as _,
            stdin: guest.stdin,
            stdin_once: false,
            tty: false,
            terminal: None,
        };
        Ok(Started { container: self.node.runtime.start(spec).await?, log })
    }
}

impl Started {
    /// Waits until it has written this.
    pub async fn says(&self, words: &str) {
        until(|| self.log.text().contains(words)).await;
    }

    /// Waits until it is gone: what it held is given back.
    pub async fn gone(&self) {
        until(|| self.container.usage().memory_bytes == 0).await;
    }
}
