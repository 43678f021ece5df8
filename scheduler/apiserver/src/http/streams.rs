//! `exec`, `attach` and `portforward` of pods: the client's connection and one to the kubelet of the pod's node become one.
//!
//! Nothing of what is spoken over it is looked at here: client and kubelet agree between themselves.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use wherry_api::resource::Subresource;
use wherry_api::{Error, Reason};

use super::Context;
use super::kubelets::{container_of, kubelet_of, read};
use super::parameters::Parameters;
use crate::authenticate::Peer;
use crate::registry::Target;

/// How long a client may take to hear the last words of a connection that has ended.
const LINGER: Duration = Duration::from_secs(5);
/// The headers by which client and kubelet agree.
const AGREED: [HeaderName; 7] = [
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_ACCEPT,
    HeaderName::from_static("x-stream-protocol-version"),
];
/// The API's words for what a client wants of a container, and a kubelet's.
const WORDS: [(&str, &str); 4] = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

/// What is asked of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Exec,
    Attach,
    PortForward,
}

impl Kind {
    /// `None`: the subresource is no connection.
    pub(super) const fn of(subresource: Subresource) -> Option<Self> {
        match subresource {
            Subresource::Exec => Some(Self::Exec),
            Subresource::Attach => Some(Self::Attach),
            Subresource::PortForward => Some(Self::PortForward),
            _ => None,
        }
    }
}

/// Connects the client of `parts`, once it has got the answer, to the pod.
pub(super) async fn answer(
    context: &Context,
    target: &Target,
    kind: Kind,
    parameters: &Parameters,
    parts: &mut Parts,
) -> Result<Response, Error> {
    let bad = |message: &str| Error::new(Reason::BadRequest, message);
    let pod = read(context, target)?;
    let (namespace, name) = (&target.key.namespace, &target.key.name);
    let path = match kind {
        Kind::PortForward => format!("/portForward/{namespace}/{name}"),
        Kind::Exec | Kind::Attach => {
            let container = container_of(&pod, name, parameters.get("container"))?;
            let verb = if kind == Kind::Exec { "exec" } else { "attach" };
            let query = container_query(kind, parameters, parts.uri.query().unwrap_or_default())?;
            format!("/{verb}/{namespace}/{name}/{container}?{query}")
        }
    };
    let place = context.streams.clone().try_acquire_owned().map_err(|_| super::busy())?;
    let client = parts.extensions.remove::<OnUpgrade>();
    let client = client.ok_or_else(|| bad("the connection cannot be upgraded: use HTTP/1.1"))?;
    let kubelet = kubelet_of(context, &pod, name).await?;
    let agreed = kubelet.upgrade(parts.method.clone(), &path, chosen(&parts.headers)).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = chosen(&agreed.headers);
    let (peer, revocations) =
        (parts.extensions.get::<Peer>().cloned().unwrap_or_default(), context.revocations.clone());
    context.drain.spawn(async move {
        let relayed = async {
            if let Ok(client) = client.await {
                relay(TokioIo::new(client), agreed.io).await;
            }
        };
        tokio::select! {
            () = relayed => {}
            () = peer.revoked(revocations) => {}
        }
        drop(place);
    });
    Ok(response)
}

/// What is wanted of a container, in a kubelet's words.
fn container_query(kind: Kind, parameters: &Parameters, query: &str) -> Result<String, Error> {
    let wanted = WORDS.iter().filter(|(word, _)| parameters.is_true(word));
    let mut words: Vec<String> = wanted.map(|(_, word)| format!("{word}=1")).collect();
    if words.iter().all(|word| word == "tty=1") {
        let message = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(Error::new(Reason::BadRequest, message));
    }
    if kind == Kind::Exec {
        // Escaped as they came.
        let command = query.split('&').filter(|pair| pair.starts_with("command="));
        words.extend(command.map(str::to_owned));
        if parameters.get("command").is_empty() {
            return Err(Error::new(Reason::BadRequest, "you must specify at least 1 command for the container"));
        }
    }
    Ok(words.join("&"))
}

fn chosen(headers: &HeaderMap) -> HeaderMap {
    let is_agreed = |(name, _): &(&HeaderName, _)| AGREED.contains(name);
    headers.iter().filter(is_agreed).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Passes on what each end says, until the kubelet has said everything: a client that says no more may still listen.
async fn relay<C, K>(client: C, kubelet: K)
where
    C: AsyncRead + AsyncWrite,
    K: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_kubelet, mut to_kubelet) = tokio::io::split(kubelet);
    let up = async {
        let _broken = tokio::io::copy(&mut from_client, &mut to_kubelet).await;
        let _broken = to_kubelet.shutdown().await;
        std::future::pending::<()>().await;
    };
    let down = async {
        let copied = tokio::io::copy(&mut from_kubelet, &mut to_client).await;
        copied.is_ok() && to_client.shutdown().await.is_ok()
    };
    let is_heard = tokio::select! {
        () = up => false,
        is_heard = down => is_heard,
    };
    if is_heard {
        // To close over what was not read would take back what was sent last.
        let rest = async { tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await };
        let _late = tokio::time::timeout(LINGER, rest).await;
    }
}
