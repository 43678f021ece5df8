//! A node whose sandboxes are tasks: the launcher serves guests in this process.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wherry_base::{SystemClock, Trigger};
use wherry_runtime::{
    Adoption, Code, Compiler, Container, ContainerSpec, Image, ImageError, ImageKind, ImageRequest, Limits, LogSink,
    PodRef, PullPolicy, Runtime, Security, StartError, StdStream, Survivor,
};
use wherry_sandbox::{
    ADOPTION_GRACE, Grouping, GuestsConfig, Launch, Launcher, Process, RuntimeConfig, SandboxConfig, SandboxRuntime,
    Sandboxes, serve,
};
use wherry_vnet::{Egress, HttpHandler, Namespace, Network, NetworkConfig, NoServices, PodIdentity, Stream};

use crate::programs::{ENGINE, Programs};

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub scratch: TempDir,
    node: NodeProcess,
    launcher: Arc<Tasks>,
    pods: Mutex<HashMap<String, Arc<Namespace>>>,
}

/// What dies with the node's process. It has threads of its own, so that it can be killed.
struct NodeProcess {
    tokio: Option<tokio::runtime::Runtime>,
    network: Arc<Network>,
    runtime: Arc<SandboxRuntime>,
    tasks: Trigger,
}

impl NodeProcess {
    async fn start(scratch: &Path, launcher: &Arc<Tasks>, grouping: Grouping) -> Self {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = NetworkConfig {
            pod_cidr: "10.128.0.0/16".parse().unwrap(),
            cluster_cidr: "10.128.0.0/10".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: "10.128.0.1".parse().unwrap(),
        };
        let tasks = Trigger::new();
        let sandboxes = SandboxConfig {
            directory: scratch.join("sandboxes"),
            network: config.clone(),
            requests: tokio.handle().clone(),
            launcher: launcher.clone(),
            engine: ENGINE.into(),
        };
        let drain = tasks.drain();
        let opened = tokio.spawn(async move { Sandboxes::open(sandboxes, &drain).await });
        let runtime = SandboxRuntime::new(RuntimeConfig {
            name: "wasm",
            grouping,
            sandboxes: opened.await.unwrap().unwrap(),
            compiler: Arc::new(Given),
            pods_directory: scratch.join("pods"),
            code_directory: scratch.to_owned(),
        });
        let network = Network::new(config, Arc::new(NoServices));
        Self { tokio: Some(tokio), network, runtime: Arc::new(runtime), tasks }
    }

    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.tokio.as_ref().unwrap().spawn(work).await.unwrap()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.tokio.take().unwrap().shutdown_background();
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(ADOPTION_GRACE, Grouping::Namespace).await
    }

    /// Sandboxes wait so long for a node, and these pods share one.
    pub async fn with(adoption_grace: Duration, grouping: Grouping) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let launcher = Arc::new(Tasks { processes: Mutex::default(), adoption_grace });
        let node = NodeProcess::start(scratch.path(), &launcher, grouping).await;
        Self { scratch, node, launcher, pods: Mutex::default() }
    }

    /// The node's process is killed.
    pub async fn die(self) -> Dead {
        let Self { scratch, node, launcher, pods } = self;
        drop((node, pods));
        Dead { scratch, launcher }
    }

    /// The node's process is stopped in good order.
    pub async fn stop(mut self) -> Dead {
        let tasks = std::mem::replace(&mut self.node.tasks, Trigger::new());
        assert!(tasks.stop(PATIENCE).await);
        self.die().await
    }

    pub async fn start(
        &self,
        namespace: &str,
        pod: &str,
        image: &str,
        env: &[(&str, &str)],
    ) -> Result<Arc<dyn Container>, StartError> {
        let pod = pod_ref(namespace, pod);
        let spec = ContainerSpec {
            id: id(&pod.name, image),
            name: "main".into(),
            run: 2,
            image: self.node.runtime.prepare(&ImageRequest::new(image, PullPolicy::IfNotPresent)).await.unwrap(),
            command: vec![],
            args: vec![],
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            working_dir: String::new(),
            mounts: vec![],
            host_directories: vec![],
            limits: Limits::default(),
            cpu_requested_milli: 0,
            security: Security::default(),
            hostname: String::new(),
            network: self.namespace(&pod),
            http_port: None,
            logs: self.log_file(&pod.name),
            stdin: false,
            stdin_once: false,
            tty: false,
            terminal: None,
            pod,
        };
        let runtime = Arc::clone(&self.node.runtime);
        self.node.run(async move { runtime.start(spec).await }).await
    }

    /// What an earlier node has left of a pod.
    pub fn survivors(&self, namespace: &str, pod: &str) -> Vec<Survivor> {
        self.node.runtime.survivors(&pod_ref(namespace, pod), &[])
    }

    /// Takes over the one container that an earlier node has left of a pod.
    pub async fn adopt(&self, namespace: &str, pod: &str) -> Arc<dyn Container> {
        let survivor = self.survivors(namespace, pod).pop().unwrap();
        let PodRef { namespace, name, uid } = survivor.pod.clone();
        let identity = PodIdentity { namespace, name, uid };
        let network = self.node.network.namespace_at(identity, Egress::Denied, survivor.address).unwrap();
        self.pods.lock().unwrap().insert(pod.to_owned(), network.clone());
        let (runtime, log) = (Arc::clone(&self.node.runtime), self.log_file(pod));
        let adoption = Adoption { network, logs: log, limits: Limits::default() };
        self.node.run(async move { runtime.adopt(&survivor, adoption).unwrap() }).await
    }

    /// All pods are known.
    pub async fn end_survivors(&self) {
        let runtime = Arc::clone(&self.node.runtime);
        self.node.run(async move { runtime.end_survivors() }).await;
    }

    fn log_file(&self, pod: &str) -> Arc<LogFile> {
        Arc::new(LogFile(self.scratch.path().join(format!("{pod}.log"))))
    }

    fn namespace(&self, pod: &PodRef) -> Arc<Namespace> {
        let mut pods = self.pods.lock().unwrap();
        let PodRef { namespace, name, uid } = pod.clone();
        let identity = PodIdentity { namespace, name, uid };
        let new = || self.node.network.namespace(identity, Egress::Denied).unwrap();
        pods.entry(pod.name.clone()).or_insert_with(new).clone()
    }

    pub fn address(&self, pod: &str) -> IpAddr {
        self.pod(pod).address()
    }

    /// A pod's network, as the node has it.
    pub fn pod(&self, pod: &str) -> Arc<Namespace> {
        Arc::clone(&self.pods.lock().unwrap()[pod])
    }

    /// Does something on the node's threads.
    pub async fn on_node<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        tokio::time::timeout(PATIENCE, self.node.run(work)).await.unwrap()
    }

    /// A connection, as soon as there is one: a program binds its port a moment after its start.
    pub async fn dial(&self, pod: &str, port: u16) -> Stream {
        let connected = async {
            loop {
                if let Some(stream) = self.try_dial(pod, port).await {
                    return stream;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, connected).await.unwrap()
    }

    pub async fn try_dial(&self, pod: &str, port: u16) -> Option<Stream> {
        let (network, to) = (Arc::clone(&self.node.network), SocketAddr::new(self.address(pod), port));
        self.node.run(async move { network.dial(to).await.ok() }).await
    }

    /// What takes requests for a pod, as soon as there is one.
    pub async fn handler(&self, pod: &str) -> Arc<dyn HttpHandler> {
        let at = SocketAddr::new(self.address(pod), 8080);
        until(|| self.node.network.handler(at).is_some()).await;
        self.node.network.handler(at).unwrap()
    }

    /// Nothing takes requests for a pod any more.
    pub async fn handler_gone(&self, pod: &str) {
        let at = SocketAddr::new(self.address(pod), 8080);
        until(|| self.node.network.handler(at).is_none()).await;
    }

    pub fn log(&self, pod: &str) -> String {
        log(&self.scratch, pod)
    }

    /// Waits until a pod's log holds this.
    pub async fn printed(&self, pod: &str, text: &str) {
        until(|| self.log(pod).contains(text)).await;
    }

    pub fn kill(&self, sandbox: &str) {
        if let Some((process, _)) = self.launcher.processes.lock().unwrap().get(sandbox) {
            process.cancel();
        }
    }

    /// How many sandboxes were ever started.
    pub fn launched(&self) -> usize {
        self.launcher.processes.lock().unwrap().values().map(|(_, launches)| launches).sum()
    }
}

/// A machine on which the node's process is no more.
pub struct Dead {
    pub scratch: TempDir,
    launcher: Arc<Tasks>,
}

impl Dead {
    /// The node's process starts again.
    pub async fn revive(self) -> World {
        let Self { scratch, launcher } = self;
        let node = NodeProcess::start(scratch.path(), &launcher, Grouping::Namespace).await;
        World { scratch, node, launcher, pods: Mutex::default() }
    }

    /// Waits until a pod's log holds this.
    pub async fn printed(&self, pod: &str, text: &str) {
        until(|| log(&self.scratch, pod).contains(text)).await;
    }

    /// Waits until no sandbox is left.
    pub async fn deserted(&self) {
        let processes: Vec<_> = self.launcher.processes.lock().unwrap().values().map(|(end, _)| end.clone()).collect();
        for process in processes {
            tokio::time::timeout(PATIENCE, process.cancelled()).await.unwrap();
        }
    }
}

/// Waits until a condition holds.
pub async fn until(holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap();
}

fn log(scratch: &TempDir, pod: &str) -> String {
    std::fs::read_to_string(scratch.path().join(format!("{pod}.log"))).unwrap_or_default()
}

fn pod_ref(namespace: &str, pod: &str) -> PodRef {
    PodRef { namespace: namespace.into(), name: pod.into(), uid: format!("uid-{pod}") }
}

/// As long as the agent's.
fn id(pod: &str, image: &str) -> String {
    let bytes = format!("{pod}{image}").bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{bytes:0<64}")
}

/// Appends like the agent's log does.
struct LogFile(PathBuf);

impl LogSink for LogFile {
    fn write(&self, _: StdStream, _: &[u8]) {}

    fn file(&self) -> io::Result<(File, u64)> {
        Ok((OpenOptions::new().create(true).append(true).open(&self.0)?, 0))
    }

    fn grown(&self, _: u64) -> io::Result<Option<File>> {
        Ok(None)
    }
}

/// A launcher whose processes are tasks.
struct Tasks {
    /// How the present one of each name is ended, and how many there were.
    processes: Mutex<HashMap<String, (CancellationToken, usize)>>,
    adoption_grace: Duration,
}

struct Task(CancellationToken);

impl Launcher for Tasks {
    fn launch(&self, launch: Launch<'_>) -> io::Result<Box<dyn Process>> {
        let ended = CancellationToken::new();
        let mut processes = self.processes.lock().unwrap();
        let (present, launches) = processes.entry(launch.name.to_owned()).or_default();
        (*present, *launches) = (ended.clone(), *launches + 1);
        drop(processes);
        let (listener, adoption_grace) = (launch.listener, self.adoption_grace);
        let process = Task(ended.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let trigger = Trigger::new();
            let config = GuestsConfig {
                listener,
                runtime: Arc::new(Programs),
                guests: runtime.handle().clone(),
                clock: SystemClock::shared(),
                lacking: vec![],
                adoption_grace,
            };
            runtime.block_on(ended.run_until_cancelled(serve(config, trigger.drain())));
            drop(runtime);
            ended.cancel();
        });
        Ok(Box::new(process))
    }

    fn find(&self, name: &str, _: u32) -> Option<Box<dyn Process>> {
        let processes = self.processes.lock().unwrap();
        let (process, _) = processes.get(name).filter(|(process, _)| !process.is_cancelled())?;
        Some(Box::new(Task(process.clone())))
    }

    fn user(&self, _: &str) -> Option<u32> {
        None
    }
}

#[async_trait]
impl Process for Task {
    fn id(&self) -> u32 {
        0
    }

    fn kill(&self) {
        self.0.cancel();
    }

    async fn ended(&self) -> String {
        self.0.cancelled().await;
        "killed by the test".into()
    }
}

struct Given;

#[async_trait]
impl Compiler for Given {
    async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError> {
        let reference = wanted.reference;
        Ok(Image { reference: reference.into(), digest: reference.into(), kind: ImageKind::Command })
    }

    fn code(&self, _: &str) -> io::Result<Code> {
        Ok(Code { file: tempfile::tempfile()?, form: String::new() })
    }

    fn engine(&self) -> String {
        ENGINE.into()
    }
}
