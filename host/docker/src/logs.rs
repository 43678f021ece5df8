//! A container's output, from the engine to the node's own files, from the place where an earlier process of the node, or a
//! broken connection, has left off: the engine tells when each piece was printed, and so do the files.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use wherry_base::Backoff;
use wherry_runtime::StdStream;

use crate::container::DockerContainer;
use crate::engine::EngineError;
use crate::inner::Inner;
use crate::raw::{self, Framing};
use crate::sandbox::pid_of;

/// The first and the longest wait before the output is asked for again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Takes all output that was printed after `last`, until the container has ended and nothing is left.
pub async fn follow(inner: Arc<Inner>, container: std::sync::Weak<DockerContainer>, mut last: Option<Timestamp>) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while let Some(name) = container.upgrade().map(|container| container.name.clone()) {
        let taken = take(&inner, &container, &name, &mut last).await;
        if matches!(taken, Err(EngineError::NotFound(_))) || taken.is_ok() && !is_running(&inner, &name).await {
            break;
        }
        tokio::time::sleep(backoff.fail()).await;
    }
    if let Some(container) = container.upgrade() {
        container.logged.cancel();
    }
}

/// Takes what there is, until the stream ends or breaks.
async fn take(
    inner: &Arc<Inner>,
    container: &std::sync::Weak<DockerContainer>,
    name: &str,
    last: &mut Option<Timestamp>,
) -> Result<(), EngineError> {
    let engine = inner.engine.answers().await;
    let Some(tty) = container.upgrade().map(|container| container.tty) else { return Ok(()) };
    let since = last.map_or(0, Timestamp::as_second);
    let path = format!("/containers/{name}/logs?follow=1&stdout=1&stderr=1&timestamps=1&since={since}");
    let framing = if tty { Framing::Lines } else { Framing::Framed };
    let mut pieces = raw::read(&engine, &path, framing, &inner.drain).await?;
    while let Some(piece) = pieces.next().await {
        let (stream, piece) = piece.map_err(|error| EngineError::Silent(error.to_string()))?;
        let Some(container) = container.upgrade() else { return Ok(()) };
        pass_on(&container, stream, &piece, last);
    }
    Ok(())
}

/// A piece that was not taken before.
fn pass_on(container: &DockerContainer, stream: StdStream, piece: &Bytes, last: &mut Option<Timestamp>) {
    match timed(piece) {
        Some((printed, _)) if last.is_some_and(|last| printed <= last) => {}
        Some((printed, text)) => {
            container.logs.write_of(stream, text, printed);
            *last = Some(printed);
        }
        None => container.logs.write(stream, piece),
    }
}

/// When a piece was printed, and what it is.
fn timed(piece: &[u8]) -> Option<(Timestamp, &[u8])> {
    let space = piece.iter().position(|&byte| byte == b' ')?;
    let (time, rest) = piece.split_at(space);
    Some((std::str::from_utf8(time).ok()?.parse().ok()?, rest.get(1..)?))
}

async fn is_running(inner: &Inner, name: &str) -> bool {
    match inner.inspect(name).await {
        Ok(found) => pid_of(&found).is_some(),
        Err(EngineError::NotFound(_)) => false,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_tell_their_time() {
        let (printed, text) = timed(b"2026-11-27T15:00:00.123456789Z a b\n").unwrap();
        assert_eq!((printed.subsec_nanosecond(), text), (123_456_789, &b"a b\n"[..]));
        assert_eq!(timed(b"no time"), None);
        assert_eq!(timed(b""), None);
    }
}
