//! A node whose sandboxes are tasks: the launcher serves guests in this process.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use wherry_base::{SystemClock, Trigger};
use wherry_runtime::{
    Code, Compiler, Container, ContainerSpec, Exit, ExitReason, GivenCode, Image, ImageError, ImageKind, Limits,
    LogSink, PodRef, PullPolicy, Runtime, StartError, StdStream, Usage,
};
use wherry_sandbox::{
    Grouping, GuestsConfig, Launch, Launcher, Process, RuntimeConfig, SandboxConfig, SandboxRuntime, Sandboxes, serve,
};
use wherry_vnet::{Egress, Namespace, Network, NetworkConfig, NoServices, PodIdentity, Stream};

pub struct World {
    pub scratch: TempDir,
    network: Arc<Network>,
    runtime: SandboxRuntime,
    launcher: Arc<Tasks>,
    pods: Mutex<HashMap<String, Arc<Namespace>>>,
    _tasks: Trigger,
}

impl World {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let config = NetworkConfig {
            pod_cidr: "10.128.0.0/16".parse().unwrap(),
            cluster_cidr: "10.128.0.0/10".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: "10.128.0.1".parse().unwrap(),
        };
        let tasks = Trigger::new();
        let launcher = Arc::new(Tasks::default());
        let directory = scratch.path().join("sandboxes");
        let sandboxes = SandboxConfig { directory, network: config.clone(), launcher: launcher.clone() };
        let sandboxes = Sandboxes::new(sandboxes, &tasks.drain()).unwrap();
        let runtime = SandboxRuntime::new(RuntimeConfig {
            name: "wasm",
            grouping: Grouping::Namespace,
            sandboxes,
            compiler: Arc::new(Given),
            pods_directory: scratch.path().join("pods"),
            code_directory: scratch.path().to_owned(),
        });
        let network = Network::new(config, Arc::new(NoServices));
        Self { scratch, network, runtime, launcher, pods: Mutex::default(), _tasks: tasks }
    }

    pub async fn start(
        &self,
        namespace: &str,
        pod: &str,
        image: &str,
        env: &[(&str, &str)],
    ) -> Result<Arc<dyn Container>, StartError> {
        let log = self.scratch.path().join(format!("{pod}.log"));
        let pod = PodRef { namespace: namespace.into(), name: pod.into(), uid: format!("uid-{pod}") };
        let spec = ContainerSpec {
            id: format!("{}-{image}", pod.name),
            name: "main".into(),
            image: self.runtime.prepare(image, PullPolicy::IfNotPresent).await.unwrap(),
            command: vec![],
            args: vec![],
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            working_dir: String::new(),
            mounts: vec![],
            host_directories: vec![],
            limits: Limits::default(),
            network: self.namespace(&pod),
            http_port: None,
            logs: Arc::new(LogFile(log)),
            stdin: false,
            pod,
        };
        self.runtime.start(spec).await
    }

    fn namespace(&self, pod: &PodRef) -> Arc<Namespace> {
        let mut pods = self.pods.lock().unwrap();
        let PodRef { namespace, name, uid } = pod.clone();
        let identity = PodIdentity { namespace, name, uid };
        let new = || self.network.namespace(identity, Egress::Denied).unwrap();
        pods.entry(pod.name.clone()).or_insert_with(new).clone()
    }

    pub fn address(&self, pod: &str) -> IpAddr {
        self.pods.lock().unwrap()[pod].address()
    }

    pub async fn dial(&self, pod: &str, port: u16) -> Stream {
        self.network.dial(SocketAddr::new(self.address(pod), port)).await.unwrap()
    }

    pub async fn try_dial(&self, pod: &str, port: u16) -> Option<Stream> {
        self.network.dial(SocketAddr::new(self.address(pod), port)).await.ok()
    }

    pub fn log(&self, pod: &str) -> String {
        std::fs::read_to_string(self.scratch.path().join(format!("{pod}.log"))).unwrap_or_default()
    }

    pub fn kill(&self, sandbox: &str) {
        if let Some(process) = self.launcher.processes.lock().unwrap().get(sandbox) {
            process.cancel();
        }
    }

    pub fn launched(&self) -> usize {
        self.launcher.processes.lock().unwrap().len()
    }
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
#[derive(Default)]
struct Tasks {
    processes: Mutex<HashMap<String, CancellationToken>>,
}

struct Task(CancellationToken);

impl Launcher for Tasks {
    fn launch(&self, launch: Launch<'_>) -> io::Result<Box<dyn Process>> {
        let ended = CancellationToken::new();
        self.processes.lock().unwrap().insert(launch.name.to_owned(), ended.clone());
        let listener = launch.listener;
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
            };
            runtime.block_on(ended.run_until_cancelled(serve(config, trigger.drain())));
            drop(runtime);
        });
        Ok(Box::new(process))
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
    async fn prepare(&self, reference: &str, _: PullPolicy) -> Result<Image, ImageError> {
        Ok(Image { reference: reference.into(), digest: reference.into(), kind: ImageKind::Command })
    }

    fn code(&self, _: &str) -> io::Result<Code> {
        Ok(Code { file: tempfile::tempfile()?, form: String::new() })
    }
}

/// Programs by the name of their image.
struct Programs;

#[async_trait]
impl Runtime for Programs {
    fn name(&self) -> &'static str {
        "programs"
    }

    async fn prepare(&self, reference: &str, _: PullPolicy) -> Result<Image, ImageError> {
        Err(ImageError::NeverPull(reference.into()))
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let stopping = CancellationToken::new();
        let (tell, exit) = tokio::sync::watch::channel(None);
        let stopped = stopping.clone();
        // What must be bound is bound when the start is over.
        let (bound, is_bound) = tokio::sync::oneshot::channel();
        tokio::task::spawn(async move {
            let code = tokio::select! {
                code = run(&spec, bound) => code,
                () = stopped.cancelled() => 0,
            };
            drop(spec);
            tell.send_replace(Some(code));
            std::future::pending::<()>().await;
        });
        let _no_port = is_bound.await;
        Ok(Arc::new(Program { exit, stopping }))
    }
}

impl GivenCode for Programs {
    fn install(&self, _: &str, _: Code) -> Result<(), ImageError> {
        Ok(())
    }
}

async fn run(spec: &ContainerSpec, bound: tokio::sync::oneshot::Sender<()>) -> i32 {
    let print = |text: String| spec.logs.write(StdStream::Out, format!("{text}\n").as_bytes());
    let to = || spec.env.iter().find(|(name, _)| name == "TO").unwrap().1.parse::<SocketAddr>().unwrap();
    match spec.image.digest.as_str() {
        "prints" => {
            print("printed".into());
            3
        }
        "echo" => {
            let mut listener = spec.network.listen("0.0.0.0:8080".parse().unwrap()).unwrap();
            bound.send(()).unwrap();
            while let Some(stream) = listener.accept().await {
                tokio::task::spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(stream);
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                    let _ = writer.shutdown().await;
                });
            }
            0
        }
        "client" => match spec.network.connect(to()).await {
            Ok(stream) => {
                let (mut reader, mut writer) = tokio::io::split(stream);
                let write = async {
                    writer.write_all(&vec![7; 300_000]).await.unwrap();
                    writer.shutdown().await.unwrap();
                };
                let mut answer = Vec::new();
                let (_, read) = tokio::join!(write, reader.read_to_end(&mut answer));
                print(format!("echoed {} bytes", read.unwrap()));
                0
            }
            Err(error) => {
                print(error.to_string());
                1
            }
        },
        "udp-echo" => {
            let mut socket = spec.network.bind_udp("0.0.0.0:8080".parse().unwrap()).unwrap();
            bound.send(()).unwrap();
            loop {
                std::future::poll_fn(|context| socket.poll_receivable(context)).await;
                let Some(datagram) = socket.try_receive() else { continue };
                socket.send_to(datagram.payload, datagram.from).unwrap();
            }
        }
        "udp-client" => {
            let mut socket = spec.network.bind_udp("0.0.0.0:0".parse().unwrap()).unwrap();
            socket.send_to("ping".into(), to()).unwrap();
            std::future::poll_fn(|context| socket.poll_receivable(context)).await;
            let answer = socket.try_receive().unwrap();
            i32::from(answer.from != to() || answer.payload != "ping")
        }
        other => panic!("no program {other}"),
    }
}

struct Program {
    exit: tokio::sync::watch::Receiver<Option<i32>>,
    stopping: CancellationToken,
}

#[async_trait]
impl Container for Program {
    async fn exited(&self) -> Exit {
        let code = self.exit.clone().wait_for(Option::is_some).await.unwrap().unwrap();
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
        Exit { code, reason, message: String::new() }
    }

    fn stop(&self) {
        self.stopping.cancel();
    }

    fn kill(&self) {
        self.stopping.cancel();
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
