//! A runtime without guests, for tests: containers that follow a script chosen by their image's name.
//!
//! Owns no tasks: an exit that is due "after a while" is worked out by whoever waits for it, so that paused time drives it.

mod program;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use wherry_vnet::{Body, HttpHandler, Listener, Unanswered, full_body};

use crate::{
    Adoption, Attached, Container, ContainerSpec, ExecError, ExecSpec, Exit, ExitReason, Image, ImageError, ImageKind,
    ImageRequest, PodRef, Runtime, StartError, StdStream, Survivor, Usage,
};

/// What containers of an image do.
#[derive(Clone, Debug)]
pub struct Script {
    /// What `prepare` fails with.
    pub image_error: Option<ImageError>,
    /// How long `start` takes.
    pub start_delay: Duration,
    /// What `start` fails with.
    pub start_error: Option<StartError>,
    /// When and how a container ends by itself; `None`: never.
    pub exit: Option<(Duration, Exit)>,
    /// How it ends when stopped; `None`: it does not listen to that.
    pub on_stop: Option<Exit>,
    /// The status with which it answers HTTP on its first port; `None`: it does not listen.
    pub http_status: Option<u16>,
    /// What it prints at its start.
    pub output: String,
    /// Whether programs can be started in it: `echo`, `complain`, `exit`, `cat`, `size` and `hang`.
    pub programs: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            image_error: None,
            start_delay: Duration::ZERO,
            start_error: None,
            exit: None,
            on_stop: Some(ended(0)),
            http_status: None,
            output: String::new(),
            programs: false,
        }
    }
}

impl Script {
    /// Ends by itself after a while, with a code.
    pub fn exits(after: Duration, code: i32) -> Self {
        Self { exit: Some((after, ended(code))), ..Self::default() }
    }

    /// Wants more memory than it may have, after a while.
    pub fn out_of_memory(after: Duration) -> Self {
        let exit = Exit { code: 137, reason: ExitReason::OomKilled, message: String::new() };
        Self { exit: Some((after, exit)), ..Self::default() }
    }

    /// Answers HTTP with this status; one that is not 2xx is never ready.
    pub fn answers(status: u16) -> Self {
        Self { http_status: Some(status), ..Self::default() }
    }

    /// Ends only when it is killed.
    pub fn stubborn() -> Self {
        Self { on_stop: None, ..Self::default() }
    }
}

/// An exit by itself with a code.
pub fn ended(code: i32) -> Exit {
    let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
    Exit { code, reason, message: String::new() }
}

/// A runtime whose containers follow scripts.
#[derive(Default)]
pub struct FakeRuntime {
    scripts: Mutex<HashMap<String, Script>>,
    started: Mutex<Vec<Arc<FakeContainer>>>,
}

impl FakeRuntime {
    /// A runtime in which every image runs until it is stopped.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on, containers of `image` follow `script`.
    pub fn script(&self, image: &str, script: Script) {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).insert(image.to_owned(), script);
    }

    /// All containers that were started, oldest first.
    pub fn started(&self) -> Vec<Arc<FakeContainer>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The process that has started them is gone: what is not taken over is ended with the other survivors.
    pub fn orphan(&self) {
        self.started().iter().for_each(|container| container.is_orphan.store(true, Ordering::SeqCst));
    }

    /// The uids of the pods of which a container runs.
    pub fn running(&self) -> BTreeSet<String> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let running = started.iter().filter(|container| container.exit.borrow().is_none());
        running.map(|container| container.spec.pod.uid.clone()).collect()
    }

    fn script_of(&self, image: &str) -> Script {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).get(image).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError> {
        let reference = wanted.reference;
        let script = self.script_of(reference);
        if let Some(error) = script.image_error {
            return Err(error);
        }
        let kind = if script.http_status.is_some() { ImageKind::Http } else { ImageKind::Command };
        Ok(Image { reference: reference.to_owned(), digest: format!("sha256:{:064x}", reference.len()), kind })
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let script = self.script_of(&spec.image.reference);
        tokio::time::sleep(script.start_delay).await;
        if let Some(error) = script.start_error {
            return Err(error);
        }
        spec.logs.write(StdStream::Out, script.output.as_bytes());
        let container = Arc::new(FakeContainer::new(spec, script)?);
        self.started.lock().unwrap_or_else(PoisonError::into_inner).push(container.clone());
        Ok(container)
    }

    fn survivors(&self, pod: &PodRef, _: &[PathBuf]) -> Vec<Survivor> {
        let started = self.started();
        let unheard = started.iter().filter(|one| one.spec.pod == *pod && !one.heard.load(Ordering::SeqCst));
        unheard.map(|container| container.survivor()).collect()
    }

    fn adopt(&self, survivor: &Survivor, _: Adoption) -> Option<Arc<dyn Container>> {
        let found = self.started().into_iter().find(|container| container.spec.id == survivor.id)?;
        found.is_orphan.store(false, Ordering::SeqCst);
        Some(found)
    }

    fn end_survivors(&self) {
        let left = self.started().into_iter().filter(|container| container.is_orphan.load(Ordering::SeqCst));
        left.for_each(|container| container.end(ended(137)));
    }
}

/// A container that follows a script.
pub struct FakeContainer {
    /// What it was started from.
    pub spec: ContainerSpec,
    due: Option<(Instant, Exit)>,
    on_stop: Option<Exit>,
    programs: bool,
    exit: watch::Sender<Option<Exit>>,
    listener: Mutex<Option<Listener>>,
    /// Somebody knows how it ended.
    heard: AtomicBool,
    /// Nobody has taken it over.
    is_orphan: AtomicBool,
}

impl FakeContainer {
    fn new(spec: ContainerSpec, script: Script) -> Result<Self, StartError> {
        let listener = match (script.http_status, spec.http_port) {
            (Some(status), Some(port)) => Some(listen(&spec, port, status)?),
            _ => None,
        };
        Ok(Self {
            spec,
            due: script.exit.map(|(after, exit)| (Instant::now() + after, exit)),
            on_stop: script.on_stop,
            programs: script.programs,
            exit: watch::Sender::new(None),
            listener: Mutex::new(listener),
            heard: AtomicBool::new(false),
            is_orphan: AtomicBool::new(false),
        })
    }

    /// Ends it, as if by itself.
    pub fn end(&self, exit: Exit) {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.exit.send_if_modified(|now| now.is_none().then(|| *now = Some(exit)).is_some());
    }

    fn survivor(&self) -> Survivor {
        let spec = &self.spec;
        Survivor {
            id: spec.id.clone(),
            pod: spec.pod.clone(),
            address: spec.network.address(),
            name: spec.name.clone(),
            run: spec.run,
            reference: spec.image.reference.clone(),
            digest: spec.image.digest.clone(),
            since: Timestamp::UNIX_EPOCH,
            exit: self.exit.borrow().clone(),
            runtime: "fake",
            place: String::new(),
        }
    }

    async fn due(&self) {
        match &self.due {
            Some((at, exit)) => {
                tokio::time::sleep_until(*at).await;
                self.end(exit.clone());
            }
            None => std::future::pending().await,
        }
    }
}

fn listen(spec: &ContainerSpec, port: u16, status: u16) -> Result<Listener, StartError> {
    let error = |e| StartError { reason: "RunContainerError", message: format!("port {port}: {e}") };
    spec.network.listen_http(port, Arc::new(Answers(status))).map_err(error)
}

struct Answers(u16);

#[async_trait]
impl HttpHandler for Answers {
    async fn handle(&self, _: http::Request<Body>) -> Result<http::Response<Body>, Unanswered> {
        Ok(http::Response::builder().status(self.0).body(full_body("fake"))?)
    }
}

#[async_trait]
impl Container for FakeContainer {
    async fn exited(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        loop {
            if let Some(exit) = exit.borrow_and_update().clone() {
                self.heard.store(true, Ordering::SeqCst);
                return exit;
            }
            tokio::select! {
                _ = exit.changed() => {}
                () = self.due() => {}
            }
        }
    }

    fn stop(&self) {
        if let Some(exit) = self.on_stop.clone() {
            self.end(exit);
        }
    }

    fn kill(&self) {
        self.end(Exit { code: 137, reason: ExitReason::Error, message: String::new() });
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    async fn exec(&self, spec: ExecSpec) -> Result<Attached, ExecError> {
        if self.programs { program::start(&spec) } else { Err(ExecError::no_processes()) }
    }
}
