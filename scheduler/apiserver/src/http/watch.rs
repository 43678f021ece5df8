//! `watch` over HTTP: a line of JSON for each event, until the client's time is over or the server drains.
//!
//! Lines are made when the client reads: one that does not holds a place in the history, and nothing else.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::StatusCode;
use wherry_api::{Error, Resource};
use wherry_client::{EventKind, RawEvent, WatchOptions};

use super::encode::{self, Form};
use super::path::Place;
use super::{Context, parameters::Parameters, text};
use crate::registry::{Registry, View};

/// How long a watch goes on where the client names no time.
const WATCH_SECONDS_DEFAULT: u64 = 1800;
const WATCH_SECONDS_MAX: u64 = 86_400;
/// Lines that are ready go out together up to this size, and one more.
const TOGETHER_BYTES: usize = 16 * 1024;

/// A watch on its way to a client.
struct Lines {
    view: View,
    registry: Registry,
    resource: &'static Resource,
    form: Form,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_ended: bool,
}

/// Opens the watch and streams its events.
pub(super) fn answer(
    context: &Context,
    place: &Place,
    parameters: &Parameters,
    mut options: WatchOptions,
    form: Form,
) -> Result<Response, Error> {
    if !place.name.is_empty() {
        options.fields = format!("metadata.name={}", place.name);
    }
    let seconds = parameters.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
    let seconds = seconds.unwrap_or(WATCH_SECONDS_DEFAULT).min(WATCH_SECONDS_MAX);
    let initial = parameters.flag("sendInitialEvents");
    let view = context.registry.watch(place.resource, place.namespace.as_deref(), &options, initial)?;
    let drain = context.drain.clone();
    let over = Box::pin(async move {
        tokio::select! {
            () = drain.ended() => {}
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        }
    });
    let (registry, resource) = (context.registry.clone(), place.resource);
    let lines = Lines { view, registry, resource, form, over, has_ended: false };
    let chunks = stream::unfold(lines, |mut lines| async move {
        let chunk = lines.next().await?;
        Some((Ok::<_, Infallible>(chunk), lines))
    });
    Ok(text(StatusCode::OK, "application/json", Body::from_stream(chunks)))
}

impl Lines {
    /// The lines of the next event and of those that are ready behind it; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        let mut lines = BytesMut::new();
        tokio::select! {
            biased;
            () = self.over.as_mut() => {
                self.has_ended = true;
                let bookmark = self.view.farewell()?;
                self.write(&mut lines, &bookmark);
            }
            event = self.view.next() => match event {
                Ok(event) => {
                    self.write(&mut lines, &event);
                    while lines.len() < TOGETHER_BYTES
                        && let Some(event) = self.view.next_ready()
                    {
                        self.write(&mut lines, &event);
                    }
                }
                Err(error) => {
                    self.has_ended = true;
                    line(&mut lines, "ERROR", &serde_json::to_vec(&error.to_status()).unwrap_or_default());
                }
            }
        }
        Some(lines.freeze())
    }

    fn write(&self, lines: &mut BytesMut, event: &RawEvent) {
        let object = match event.kind {
            EventKind::Bookmark => encode::bookmark(&event.object, self.form),
            _ => encode::object(&self.registry, self.resource, &event.object, self.form),
        };
        line(lines, word(event.kind), &object);
    }
}

fn line(lines: &mut BytesMut, kind: &str, object: &[u8]) {
    lines.reserve(object.len() + 32);
    lines.put_slice(b"{\"type\":\"");
    lines.put_slice(kind.as_bytes());
    lines.put_slice(b"\",\"object\":");
    lines.put_slice(object);
    lines.put_slice(b"}\n");
}

const fn word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Added => "ADDED",
        EventKind::Modified => "MODIFIED",
        EventKind::Deleted => "DELETED",
        EventKind::Bookmark => "BOOKMARK",
    }
}
