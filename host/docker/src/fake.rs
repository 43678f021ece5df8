//! An engine for tests, which answers as it is told, or never.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use wherry_base::{SystemClock, Trigger};

use crate::create::Resolver;
use crate::engine::EngineChoice;
use crate::inner::{DockerConfig, Inner};

const VERSION: &str = r#"{"ApiVersion": "1.41", "Version": "1", "Components": [{"Name": "Fake", "Version": "1"}]}"#;

/// Status and body of the answer to `METHOD PATH`, whose version is left out; `None`: never.
pub type Answers = dyn FnMut(&str) -> Option<(u16, String)> + Send;

/// An engine at a socket of its own.
pub struct FakeEngine {
    pub inner: Arc<Inner>,
    asked: Arc<Mutex<Vec<String>>>,
    _directory: tempfile::TempDir,
    _tasks: Trigger,
}

impl FakeEngine {
    /// One that is connected to.
    pub async fn start(answers: impl FnMut(&str) -> Option<(u16, String)> + Send + 'static) -> Self {
        let (directory, tasks) = (tempfile::tempdir().unwrap(), Trigger::new());
        let socket = directory.path().join("engine.sock");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let listener = UnixListener::bind(&socket).unwrap();
        let answers: Arc<Mutex<Box<Answers>>> = Arc::new(Mutex::new(Box::new(answers)));
        let (heard, drain) = (Arc::clone(&asked), tasks.drain());
        tasks.drain().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drain.spawn(serve(stream, Arc::clone(&heard), Arc::clone(&answers)));
            }
        });
        let config = DockerConfig {
            engine: EngineChoice::At(socket),
            node: "n".into(),
            data_dir: directory.path().to_owned(),
            pods_directory: directory.path().join("pods"),
            images: None,
            resolver: Resolver { address: [10, 96, 0, 10].into(), domain: "cluster.local" },
            clock: SystemClock::shared(),
            threads: Handle::current(),
        };
        let inner = Inner::new(config, tasks.drain());
        inner.engine.connect().await.unwrap();
        Self { inner, asked, _directory: directory, _tasks: tasks }
    }

    /// How often it was asked for something of which this is a part.
    pub fn asked(&self, part: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.contains(part)).count()
    }
}

async fn serve(mut stream: UnixStream, asked: Arc<Mutex<Vec<String>>>, answers: Arc<Mutex<Box<Answers>>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    // The version of the API may be before the path.
    let path = path.strip_prefix("/v1.").and_then(|path| path.split_once('/')).map_or(path, |(_, path)| path);
    let call = format!("{method} /{}", path.trim_start_matches('/'));
    asked.lock().unwrap().push(call.clone());
    let answer =
        if call.starts_with("GET /version") { Some((200, VERSION.to_owned())) } else { answers.lock().unwrap()(&call) };
    let Some((status, body)) = answer else { return std::future::pending().await };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}
