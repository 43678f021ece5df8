//! An image registry of a test's own, in memory: what a test pushes (`docker push`, or a module), and who may pull it. It asks for a
//! login, or for a token, as registries do, and sends large pieces of images as slowly as the test says.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::Context;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wherry_image::{Artifact, MANIFEST_TYPE};

use crate::engine::Engine;

/// Who may pull everything; what is below `public/` is for anybody.
pub const LOGIN: (&str, &str) = ("wherry", "let:me in");
/// What is larger comes in pieces, each of this size.
const PIECE_BYTES: usize = 256 << 10;
const BODY_BYTES_MAX: usize = 64 << 20;
/// More than any image has pieces.
const PIECES_MAX: usize = 1 << 16;
const BLOB_TYPE: &str = "application/octet-stream";
/// Tokens: of who has logged in, and of anybody.
const TOKENS: [&str; 2] = ["of-the-user", "of-anybody"];

/// What a registry asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// `Basic`.
    Login,
    /// `Bearer`: a token, from an address of its own.
    Token,
}

/// A registry at a port of this machine. Ends when dropped.
pub struct Registry {
    port: u16,
    store: Arc<Store>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Store {
    asks: Asks,
    blobs: Mutex<HashMap<String, Bytes>>,
    /// By `REPOSITORY/manifests/VERSION`: the type, and the bytes.
    manifests: Mutex<HashMap<String, (String, Bytes)>>,
    uploads: Mutex<Vec<Vec<u8>>>,
    is_held: AtomicBool,
    pieces: Semaphore,
}

impl Registry {
    /// Starts one.
    pub fn start(asks: Asks) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (port, runtime) = (listener.local_addr()?.port(), tokio::runtime::Runtime::new()?);
        let store = Arc::new(Store {
            asks,
            blobs: Mutex::default(),
            manifests: Mutex::default(),
            uploads: Mutex::default(),
            is_held: AtomicBool::new(false),
            pieces: Semaphore::new(0),
        });
        let registry = Self { port, store, runtime: Some(runtime) };
        registry.serve(listener)?;
        Ok(registry)
    }

    /// The same address is the registry's for an engine, which has a network of its own.
    pub fn reach(&self, engine: &Engine) -> anyhow::Result<()> {
        let (network, port) = (engine.network()?, self.port);
        let bind = move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), kind)?;
            anyhow::Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?)
        };
        // The thread is of the other network from then on, so it ends with this.
        let bound = thread::spawn(bind).join().map_err(|_| anyhow::anyhow!("the thread panicked"))?;
        self.serve(bound.context("the registry cannot listen in the engine's network")?)
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What a Secret of type `kubernetes.io/dockerconfigjson` holds, with this password.
    pub fn docker_config(&self, password: &str) -> String {
        let auth = STANDARD.encode(format!("{}:{password}", LOGIN.0));
        json!({"auths": {self.address(): {"auth": auth}}}).to_string()
    }

    /// Has a module under a name from now on.
    pub fn add_module(&self, repository: &str, tag: &str, module: &[u8]) {
        let Artifact { manifest, config, .. } = Artifact::of(module);
        self.store.keep(config);
        self.store.keep(Bytes::copy_from_slice(module));
        self.store.name(&format!("{repository}/manifests/{tag}"), MANIFEST_TYPE, manifest);
    }

    /// From now on a large piece of an image goes on only when it is let pass.
    pub fn hold(&self) {
        self.store.pieces.forget_permits(PIECES_MAX);
        self.store.is_held.store(true, Ordering::SeqCst);
    }

    /// Lets one piece of `PIECE_BYTES` pass.
    pub fn pass_one(&self) {
        self.store.pieces.add_permits(1);
    }

    /// Lets all pass.
    pub fn open(&self) {
        self.store.is_held.store(false, Ordering::SeqCst);
        self.store.pieces.add_permits(PIECES_MAX);
    }

    fn serve(&self, listener: TcpListener) -> anyhow::Result<()> {
        let runtime = self.runtime.as_ref().context("the registry has ended")?;
        listener.set_nonblocking(true)?;
        let _entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&self.store));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(store): State<Arc<Store>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    if path == "/token" {
        return token(&parts.headers);
    }
    let Some(path) = path.strip_prefix("/v2/") else { return StatusCode::NOT_FOUND.into_response() };
    if !store.lets_in(&parts.headers, path) {
        return store.asks_for(&parts.headers);
    }
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let content_type = text(&parts.headers, header::CONTENT_TYPE);
    match (parts.method, path.rsplit_once('/')) {
        (_, None) => StatusCode::OK.into_response(),
        (Method::PUT, Some((before, _))) if before.ends_with("/manifests") => store.name(path, &content_type, body),
        (Method::GET | Method::HEAD, Some((before, _))) if before.ends_with("/manifests") => store.manifest(path),
        (Method::GET | Method::HEAD, Some((before, digest))) if before.ends_with("/blobs") => store.blob(digest),
        (method, Some((before, upload))) if before.ends_with("/blobs/uploads") => {
            Arc::clone(&store).upload(&method, path, upload, &query, body)
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A token is what the login is worth; a wrong one is worth nothing.
fn token(headers: &HeaderMap) -> Response {
    let [of_user, of_anybody] = TOKENS;
    match text(headers, header::AUTHORIZATION) {
        login if login.is_empty() => axum::Json(json!({ "token": of_anybody })).into_response(),
        login if login == basic() => axum::Json(json!({ "token": of_user })).into_response(),
        _ => (StatusCode::UNAUTHORIZED, "incorrect username or password").into_response(),
    }
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1)))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
impl Store {
    fn lets_in(&self, headers: &HeaderMap, path: &str) -> bool {
        let shown = text(headers, header::AUTHORIZATION);
        let [of_user, of_anybody] = TOKENS.map(|token| format!("Bearer {token}"));
        match self.asks {
            Asks::Login => shown == basic() || (shown.is_empty() && path.starts_with("public/")),
            Asks::Token => shown == of_user || (shown == of_anybody && path.starts_with("public/")),
        }
    }

    fn asks_for(&self, headers: &HeaderMap) -> Response {
        let host = text(headers, header::HOST);
        let challenge = match self.asks {
            Asks::Login => "Basic realm=\"a test\"".to_owned(),
            Asks::Token => format!("Bearer realm=\"http://{host}/token\",service=\"a test\""),
        };
        let errors = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], axum::Json(errors)).into_response()
    }

    fn keep(&self, blob: Bytes) -> String {
        let digest = digest_of(&blob);
        self.blobs.lock().unwrap().insert(digest.clone(), blob);
        digest
    }

    /// By its name, and by its digest.
    fn name(&self, path: &str, content_type: &str, manifest: Bytes) -> Response {
        let digest = digest_of(&manifest);
        let by_digest = path.rsplit_once('/').map(|(before, _)| format!("{before}/{digest}")).unwrap_or_default();
        for name in [path.to_owned(), by_digest] {
            self.manifests.lock().unwrap().insert(name, (content_type.to_owned(), manifest.clone()));
        }
        (StatusCode::CREATED, [("docker-content-digest", digest)]).into_response()
    }

    fn manifest(&self, path: &str) -> Response {
        let Some((content_type, manifest)) = self.manifests.lock().unwrap().get(path).cloned() else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let digest = digest_of(&manifest);
        ([(header::CONTENT_TYPE.as_str(), content_type), ("docker-content-digest", digest)], manifest).into_response()
    }

    fn blob(self: &Arc<Self>, digest: &str) -> Response {
        let Some(blob) = self.blobs.lock().unwrap().get(digest).cloned() else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let length = [(header::CONTENT_TYPE, BLOB_TYPE.to_owned()), (header::CONTENT_LENGTH, blob.len().to_string())];
        let store = Arc::clone(self);
        let pieces = stream::unfold(blob, move |mut rest| {
            let store = Arc::clone(&store);
            async move {
                let piece = rest.split_to(PIECE_BYTES.min(rest.len()));
                if !rest.is_empty() && store.is_held.load(Ordering::SeqCst) {
                    store.pieces.acquire().await.unwrap().forget();
                }
                (!piece.is_empty()).then_some((Ok::<_, std::convert::Infallible>(piece), rest))
            }
        });
        (length, Body::from_stream(pieces)).into_response()
    }

    /// An upload's name is its place among all.
    fn upload(&self, method: &Method, path: &str, upload: &str, query: &str, body: Bytes) -> Response {
        let mut uploads = self.uploads.lock().unwrap();
        if *method == Method::POST {
            uploads.push(Vec::new());
            let place = format!("/v2/{path}{}", uploads.len() - 1);
            return (StatusCode::ACCEPTED, [(header::LOCATION, place)]).into_response();
        }
        let Some(parts) = upload.parse().ok().and_then(|number: usize| uploads.get_mut(number)) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        parts.extend_from_slice(&body);
        if *method == Method::PATCH {
            let (place, range) = (format!("/v2/{path}"), format!("0-{}", parts.len().saturating_sub(1)));
            return (StatusCode::ACCEPTED, [(header::LOCATION, place), (header::RANGE, range)]).into_response();
        }
        let digest = self.keep(std::mem::take(parts).into());
        if !query.replace("%3A", ":").contains(&digest) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        (StatusCode::CREATED, [("docker-content-digest", digest)]).into_response()
    }
}
