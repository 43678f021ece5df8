//! The engine: where its socket is, whether it answers, and calls to it, each with a limit of time.
//!
//! Knows no pods. A call that the engine leaves unanswered ends with an error: nobody waits for a hung engine.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error as ApiError;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::{Stream, StreamExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use wherry_runtime::Availability;

/// Where engines listen that were installed as they come: Docker's, and Podman's service with Docker's API.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];
/// How long a call may take that only asks.
pub const ASK_MAX: Duration = Duration::from_secs(5);
/// How long a call may take that makes, starts or removes a container.
pub const CHANGE_MAX: Duration = Duration::from_secs(60);

/// How long a pull, or loading, may be silent.
const STEP_MAX: Duration = Duration::from_secs(60);

/// Which engine is used: `auto`, `off`, or the path of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// The one that `DOCKER_HOST` names, or that listens where engines usually do.
    Auto,
    /// None.
    Off,
    /// The one at this socket.
    At(PathBuf),
}

impl FromStr for EngineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        match path {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            path if path.starts_with('/') => Ok(Self::At(path.into())),
            _ => Err(format!("\"{text}\" is no engine of this machine; write auto, off, or the path of its socket")),
        }
    }
}

/// Why the engine did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No socket.
    #[error("no container engine listens at {0}")]
    Absent(String),
    /// It may not be used.
    #[error("only root can join the networks of the container engine's containers to the pod network")]
    NotRoot,
    /// No answer in time, or none that can be read.
    #[error("the container engine does not answer: {0}")]
    Silent(String),
    /// What it does has not gone on for too long.
    #[error("{0}")]
    Stalled(String),
    /// There is no such container or image.
    #[error("{0}")]
    NotFound(String),
    /// The engine refuses, in its own words.
    #[error("{0}")]
    Refused(String),
}

impl EngineError {
    /// There is none that could be used: nothing that was left in it comes back.
    pub const fn is_of_no_engine(&self) -> bool {
        matches!(self, Self::Absent(_) | Self::NotRoot)
    }
}

impl From<ApiError> for EngineError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::DockerResponseServerError { status_code: 404, message } => Self::NotFound(message),
            ApiError::DockerResponseServerError { message, .. } => Self::Refused(message),
            ApiError::DockerStreamError { error } => Self::Refused(error),
            error => Self::Silent(error.to_string()),
        }
    }
}

/// A connection's terms: each call has a connection of its own.
#[derive(Clone)]
pub struct Connected {
    /// The client.
    pub api: Docker,
    /// The socket.
    pub socket: PathBuf,
    /// Whose it is.
    pub kind: EngineKind,
    /// Where its images are, as far as it says.
    pub root: Option<PathBuf>,
}

/// Whose engine it is: they differ in what they make of the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Docker's, or one that does as it does.
    Docker,
    /// Podman's service.
    Podman,
}

/// An engine that comes and goes.
pub struct Engine {
    sockets: Vec<PathBuf>,
    connected: Mutex<Option<Connected>>,
    state: watch::Sender<Availability>,
}

impl Engine {
    /// One that was not looked for yet.
    pub fn new(choice: &EngineChoice) -> Self {
        let sockets = match choice {
            EngineChoice::At(path) => vec![path.clone()],
            EngineChoice::Off => Vec::new(),
            EngineChoice::Auto => usual_sockets(std::env::var("DOCKER_HOST").ok().as_deref()),
        };
        let absent = Availability::Absent("the container engine was not looked for yet".to_owned());
        Self { sockets, connected: Mutex::default(), state: watch::Sender::new(absent) }
    }

    /// Whether it can be used, as it changes.
    pub fn availability(&self) -> watch::Receiver<Availability> {
        self.state.subscribe()
    }

    /// Looks for the engine and asks who it is: name and release.
    pub async fn connect(&self) -> Result<(Connected, String), EngineError> {
        let there = self.sockets.iter().find(|socket| socket.exists());
        let socket = there.ok_or_else(|| EngineError::Absent(self.places()))?.clone();
        if is_deserted(&socket).await {
            return Err(EngineError::Absent(self.places()));
        }
        let timeout_secs = CHANGE_MAX.as_secs();
        let api = Docker::connect_with_unix(&socket.to_string_lossy(), timeout_secs, API_DEFAULT_VERSION)?;
        let api = within(ASK_MAX, api.negotiate_version()).await?;
        let version = within(ASK_MAX, api.version()).await?;
        let component = version.components.iter().flatten().next().map(|component| component.name.clone());
        let name = component.unwrap_or_else(|| "Engine".to_owned());
        let kind = if name.starts_with("Podman") { EngineKind::Podman } else { EngineKind::Docker };
        // What it says beside that is of no matter, and may be in a form that is not known here.
        let root = within(ASK_MAX, api.info()).await.ok().and_then(|info| info.docker_root_dir).map(PathBuf::from);
        let connected = Connected { api, socket, kind, root };
        self.hold(Some(connected.clone()));
        Ok((connected, format!("{name} {}", version.version.unwrap_or_default())))
    }

    /// From now on containers are started; `what` it is.
    pub fn ready(&self, what: String) {
        self.state.send_replace(Availability::Ready(what));
    }

    /// It is gone, or hangs. One that was never there is not lost.
    pub fn lost(&self, why: &EngineError) {
        self.hold(None);
        self.state.send_if_modified(|state| {
            let next = match (&*state, why.is_of_no_engine()) {
                (Availability::Absent(_), true) => Availability::Absent(why.to_string()),
                _ => Availability::Lost(why.to_string()),
            };
            let is_news = std::mem::discriminant(state) != std::mem::discriminant(&next);
            *state = next;
            is_news
        });
    }

    /// It is looked for still, and has not said yet what it has.
    pub fn overdue(&self) {
        self.state.send_if_modified(|state| {
            let is_news = matches!(state, Availability::Absent(_));
            if is_news {
                *state = Availability::Lost("it has not answered since the node started".to_owned());
            }
            is_news
        });
    }

    /// The engine, where it answers.
    pub fn get(&self) -> Result<Connected, EngineError> {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        connected.ok_or_else(|| match &*self.state.borrow() {
            Availability::Absent(_) => EngineError::Absent(self.places()),
            Availability::Lost(why) => EngineError::Silent(why.clone()),
            Availability::Ready(_) => EngineError::Silent("it was lost just now".to_owned()),
        })
    }

    /// Waits until it answers.
    pub async fn answers(&self) -> Connected {
        let mut state = self.availability();
        loop {
            let _the_sender_is_here = state.wait_for(Availability::is_ready).await.map(drop);
            if let Ok(connected) = self.get() {
                return connected;
            }
            let _news = state.changed().await;
        }
    }

    fn hold(&self, connected: Option<Connected>) {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = connected;
    }

    fn places(&self) -> String {
        let places: Vec<_> = self.sockets.iter().map(|socket| socket.display().to_string()).collect();
        places.join(" or ")
    }
}

/// Whether nobody listens at a socket. At that of an engine that hangs somebody does.
async fn is_deserted(socket: &Path) -> bool {
    let connected = UnixStream::connect(socket).await;
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The answer to a call, if it comes in time.
pub async fn within<T, E>(limit: Duration, call: impl Future<Output = Result<T, E>>) -> Result<T, EngineError>
where
    EngineError: From<E>,
{
    let late = |_| EngineError::Silent(format!("no answer within {} s", limit.as_secs()));
    Ok(tokio::time::timeout(limit, call).await.map_err(late)??)
}

/// The next step of a long call, which may be silent for so long; `what` stands still where it is for longer.
pub async fn next_step<T>(
    steps: &mut (impl Stream<Item = Result<T, ApiError>> + Unpin),
    what: &str,
) -> Result<Option<T>, EngineError> {
    let stalled = |_| EngineError::Stalled(format!("{what} has stood still for {} s", STEP_MAX.as_secs()));
    Ok(tokio::time::timeout(STEP_MAX, steps.next()).await.map_err(stalled)?.transpose()?)
}

/// `DOCKER_HOST` goes before all; an engine of another machine is of no use, for its containers have no network here.
fn usual_sockets(docker_host: Option<&str>) -> Vec<PathBuf> {
    match docker_host.filter(|host| !host.is_empty()) {
        Some(host) => host.strip_prefix("unix://").map(PathBuf::from).into_iter().collect(),
        None => SOCKETS.iter().map(|socket| Path::new(socket).to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_named() {
        let check = |text: &str, expected: Option<EngineChoice>| assert_eq!(text.parse().ok(), expected, "{text}");
        check("auto", Some(EngineChoice::Auto));
        check("off", Some(EngineChoice::Off));
        check("/run/x.sock", Some(EngineChoice::At("/run/x.sock".into())));
        check("unix:///run/x.sock", Some(EngineChoice::At("/run/x.sock".into())));
        check("tcp://other:2375", None);
        check("", None);
    }

    #[test]
    fn an_engine_of_another_machine_is_none() {
        assert_eq!(usual_sockets(Some("unix:///a.sock")), [PathBuf::from("/a.sock")]);
        assert!(usual_sockets(Some("tcp://other:2375")).is_empty());
        assert_eq!(usual_sockets(None).len(), SOCKETS.len());
        assert_eq!(usual_sockets(Some("")).len(), SOCKETS.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_stands_still_is_ended() {
        let mut steps = futures::stream::pending::<Result<(), ApiError>>();
        let why = next_step(&mut steps, "the pull").await.unwrap_err();
        assert_eq!(why.to_string(), "the pull has stood still for 60 s");
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_was_never_lost() {
        let engine = Engine::new(&EngineChoice::At("/nowhere/at/all.sock".into()));
        let why = engine.connect().await.err().unwrap();
        engine.lost(&why);
        assert!(matches!(&*engine.availability().borrow(), Availability::Absent(text) if text.contains("/nowhere")));
        engine.ready("X".to_owned());
        engine.lost(&why);
        assert!(matches!(&*engine.availability().borrow(), Availability::Lost(_)));
    }
}
