//! Watches over HTTPS: JSON lines, cut out of the chunks as they come.

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::Deserialize;
use serde_json::value::RawValue;
use wherry_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use wherry_api::{Error, Reason};

use crate::transport::{EventKind, RawEvent, RawWatch};

/// The longest line that is read: an object is 3 MiB at the most.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

struct Lines {
    chunks: BoxStream<'static, Result<Bytes, Error>>,
    buffer: BytesMut,
    /// How much of the buffer holds no line's end.
    searched: usize,
}

/// The events of an answer's body; ends with it, or after an error.
pub fn events(chunks: BoxStream<'static, Result<Bytes, Error>>) -> RawWatch {
    let lines = Lines { chunks, buffer: BytesMut::new(), searched: 0 };
    let events = stream::unfold(Some(lines), |lines| async move {
        let mut lines = lines?;
        match lines.next().await? {
            Ok(line) => match decode(&line) {
                Ok(event) => Some((Ok(event), Some(lines))),
                Err(error) => Some((Err(error), None)),
            },
            Err(error) => Some((Err(error), None)),
        }
    });
    events.boxed()
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            let fresh = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                return Some(Ok(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES_MAX {
                return Some(Err(broken("an event is too long")));
            }
            match self.chunks.next().await? {
                Ok(chunk) => self.buffer.extend_from_slice(&chunk),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn decode(line: &Bytes) -> Result<RawEvent, Error> {
    let frame: Frame<'_> = serde_json::from_slice(line).map_err(|e| broken(&e.to_string()))?;
    let object = frame.object.get();
    let kind = match frame.kind {
        "ADDED" => EventKind::Added,
        "MODIFIED" => EventKind::Modified,
        "DELETED" => EventKind::Deleted,
        "BOOKMARK" => EventKind::Bookmark,
        _ => return Err(told(object)),
    };
    Ok(RawEvent { kind, object: line.slice_ref(object.as_bytes()) })
}

/// The error in an `ERROR` event.
fn told(object: &str) -> Error {
    serde_json::from_str::<Status>(object).map_or_else(|e| broken(&e.to_string()), |status| Error::from_status(&status))
}

fn broken(why: &str) -> Error {
    Error::new(Reason::ServiceUnavailable, format!("the watch broke: {why}"))
}
