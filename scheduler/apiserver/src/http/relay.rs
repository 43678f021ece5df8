//! Requests that the leader has to answer: carried out here where this master leads, else passed on as they came.

use std::future::Future;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, USER_AGENT, WARNING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::{BodyExt, Limited};
use wherry_api::Error;
use wherry_client::refusal;

use super::Context;
use crate::masters::Asker;
use crate::registry::Leader;

/// What of a request's headers the leader is told.
const ASKED: [HeaderName; 3] = [ACCEPT, CONTENT_TYPE, USER_AGENT];
/// What of its answer's headers the client is told.
const ANSWERED: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_LENGTH, RETRY_AFTER, WARNING];
/// The longest answer of a leader that cannot serve, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// A request, its body read whole.
pub(super) struct Asked<'a> {
    pub(super) parts: &'a Parts,
    pub(super) body: &'a Bytes,
    /// Whether the answer goes on until somebody ends it.
    pub(super) is_watch: bool,
}

/// The leader's answer: by `here` where this master leads.
pub(super) async fn at_leader<F>(
    context: &Context,
    asker: &Asker,
    asked: &Asked<'_>,
    here: impl Fn() -> F + Send,
) -> Result<Response, Error>
where
    F: Future<Output = Result<Response, Error>> + Send,
{
    context.registry.at_leader(asker, here, |leader| pass_on(context, leader, asked)).await
}

async fn pass_on(context: &Context, mut leader: Leader, asked: &Asked<'_>) -> Result<Response, Error> {
    let Asked { parts, body, is_watch } = asked;
    let path_and_query = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let headers = chosen(&parts.headers, &ASKED);
    let answer = leader.ask(parts.method.clone(), path_and_query, headers, (*body).clone()).await?;
    let (head, body) = answer.into_parts();
    if head.status == StatusCode::SERVICE_UNAVAILABLE {
        let whole = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
        return Err(refusal(head.status, &whole.map(|whole| whole.to_bytes()).unwrap_or_default()));
    }
    let body = if *is_watch { until_left(context, leader, body) } else { body };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = chosen(&head.headers, &ANSWERED);
    Ok(response)
}

/// A watch's lines, until the leader is another one, or this server drains.
fn until_left(context: &Context, mut leader: Leader, body: Body) -> Body {
    let drain = context.drain.clone();
    let over = async move {
        tokio::select! {
            () = drain.ended() => {}
            () = leader.left() => {}
        }
    };
    Body::from_stream(body.into_data_stream().take_until(Box::pin(over)))
}

fn chosen(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let is_chosen = |(name, _): &(&HeaderName, _)| names.contains(name);
    headers.iter().filter(is_chosen).map(|(name, value)| (name.clone(), value.clone())).collect()
}
