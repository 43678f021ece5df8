//! `watch` over HTTP: a line of JSON for each event, until the client's time is over or the server drains.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use http::StatusCode;
use wherry_api::{Error, Resource};
use wherry_client::{EventKind, RawEvent};

use super::encode::{Form, object};
use super::path::Place;
use super::{Context, parameters::Parameters, text};
use crate::registry::Registry;

/// How long a watch goes on where the client names no time.
const WATCH_SECONDS_DEFAULT: u64 = 1800;
const WATCH_SECONDS_MAX: u64 = 86_400;

/// Opens the watch and streams its events.
pub(super) fn answer(context: &Context, place: &Place, parameters: &Parameters, form: Form) -> Result<Response, Error> {
    let mut options = parameters.watch();
    if !place.name.is_empty() {
        options.fields = format!("metadata.name={}", place.name);
    }
    let seconds = parameters.number("timeoutSeconds")?.unwrap_or(WATCH_SECONDS_DEFAULT).min(WATCH_SECONDS_MAX);
    let initial = parameters.is_true("sendInitialEvents");
    let events = context.registry.watch(place.resource, place.namespace.as_deref(), &options, initial)?;
    let (registry, resource) = (context.registry.clone(), place.resource);
    let lines = events.map(move |event| Ok::<_, std::convert::Infallible>(line(&registry, resource, event, form)));
    let drain = context.drain.clone();
    let over = async move {
        tokio::select! {
            () = drain.ended() => {}
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        }
    };
    Ok(text(StatusCode::OK, "application/json", Body::from_stream(lines.take_until(Box::pin(over)))))
}

fn line(registry: &Registry, resource: &Resource, event: Result<RawEvent, Error>, form: Form) -> Bytes {
    let (kind, json) = match event {
        Ok(RawEvent { kind: EventKind::Bookmark, object }) => ("BOOKMARK", object),
        Ok(RawEvent { kind, object: json }) => (word(kind), object(registry, resource, &json, form)),
        Err(error) => ("ERROR", serde_json::to_vec(&error.to_status()).unwrap_or_default().into()),
    };
    let mut line = BytesMut::with_capacity(json.len() + 32);
    line.put_slice(b"{\"type\":\"");
    line.put_slice(kind.as_bytes());
    line.put_slice(b"\",\"object\":");
    line.put_slice(&json);
    line.put_slice(b"}\n");
    line.freeze()
}

const fn word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Added => "ADDED",
        EventKind::Modified => "MODIFIED",
        EventKind::Deleted => "DELETED",
        EventKind::Bookmark => "BOOKMARK",
    }
}
