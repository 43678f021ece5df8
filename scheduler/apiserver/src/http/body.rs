//! Bodies of requests: read whole, within a size and a time, and understood as JSON whatever their encoding.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use wherry_api::json::{self, Parsed};
use wherry_api::{Error, Reason, protobuf, yaml};
use wherry_client::PatchKind;

use super::Context;

/// The largest body: a Kubernetes API server's own limit.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Larger bodies are taken in few at a time: understood, they may take many times their size.
const LARGE_BYTES: usize = 256 * 1024;
/// How long a body may take to arrive.
const BODY_MOST: Duration = Duration::from_secs(30);

/// A whole body, and its place among the large ones.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

/// Reads a body to its end.
pub(super) async fn read(context: &Context, body: Body) -> Result<Whole, Error> {
    match tokio::time::timeout(BODY_MOST, collect(context, body)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_MOST.as_secs());
            Err(Error::new(Reason::Timeout, message))
        }
    }
}

async fn collect(context: &Context, mut body: Body) -> Result<Whole, Error> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut place = None;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| bad(&format!("the body cannot be read: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let total = first.len() + rest.len() + data.len();
        if total > BODY_BYTES_MAX {
            return Err(too_large());
        }
        if total > LARGE_BYTES && place.is_none() {
            let large = context.large.clone().acquire_owned().await;
            place = Some(large.map_err(|e| Error::new(Reason::ServiceUnavailable, e.to_string()))?);
        }
        // Most bodies come in one piece, which is not copied.
        match (first.is_empty(), rest.is_empty()) {
            (true, true) => first = data,
            (false, true) => {
                rest.extend_from_slice(&std::mem::take(&mut first));
                rest.extend_from_slice(&data);
            }
            _ => rest.extend_from_slice(&data),
        }
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(Whole { bytes, _place: place })
}

fn too_large() -> Error {
    let message = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
    Error::new(Reason::RequestEntityTooLarge, message)
}

/// The type of a body, without its parameters; JSON where nothing is said.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        "" | "*/*" => "application/json",
        given => given,
    }
}

/// An object, of any encoding that is read.
pub(super) fn object(content_type: &str, body: &[u8]) -> Result<Parsed, Error> {
    let unreadable = |why: String| bad(&format!("the body of the request cannot be read: {why}"));
    let plain = |value: Value| Parsed { value, duplicates: Vec::new() };
    match content_type {
        "application/json" => json::parse(body).map_err(|e| unreadable(e.to_string())),
        "application/vnd.kubernetes.protobuf" => protobuf::to_json(body).map(plain).map_err(unreadable),
        "application/yaml" => {
            let text = std::str::from_utf8(body).map_err(|e| unreadable(e.to_string()))?;
            let mut documents = yaml::parse(text).map_err(|e| unreadable(e.to_string()))?.into_iter();
            match (documents.next(), documents.next()) {
                (Some(only), None) => Ok(plain(only)),
                (None, _) => Err(unreadable("it is empty".to_owned())),
                _ => Err(unreadable("it has several documents; send them one by one".to_owned())),
            }
        }
        other => Err(unsupported(other, "application/json, application/yaml, application/vnd.kubernetes.protobuf")),
    }
}

/// A patch and its kind.
pub(super) fn patch(content_type: &str, body: &[u8]) -> Result<(PatchKind, Parsed), Error> {
    let kind = match content_type {
        "application/json-patch+json" => PatchKind::Json,
        "application/merge-patch+json" => PatchKind::Merge,
        "application/strategic-merge-patch+json" => PatchKind::Strategic,
        "application/apply-patch+yaml" => {
            let message =
                "server-side apply is not served yet; apply on the client's side (kubectl apply without --server-side)";
            return Err(Error::new(Reason::UnsupportedMediaType, message));
        }
        other => {
            let known =
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";
            return Err(unsupported(other, known));
        }
    };
    let patch = json::parse(body).map_err(|e| bad(&format!("the patch cannot be read: {e}")))?;
    Ok((kind, patch))
}

fn bad(sentence: &str) -> Error {
    Error::new(Reason::BadRequest, sentence)
}

fn unsupported(content_type: &str, known: &str) -> Error {
    let message = format!(
        "the body of the request was in an unknown format ({content_type}) - accepted media types include: {known}"
    );
    Error::new(Reason::UnsupportedMediaType, message)
}
