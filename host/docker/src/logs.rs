//! A container's output, from the engine to the node's own files, from the place where an earlier process of the node, or a
//! broken connection, has left off: the engine tells when each piece was printed, and so do the files.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use wherry_base::Backoff;

use crate::container::DockerContainer;
use crate::engine::EngineError;
use crate::inner::Inner;
use crate::raw::{self, Framing};
use crate::sandbox::pid_of;

/// The first and the longest wait before the output is asked for again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How far the output was taken: the time of the last piece, and how many of that time were taken. Podman's times are whole seconds.
pub type Taken = Option<(Timestamp, usize)>;

/// Takes all output that was printed after `last`, until the container has ended and nothing is left.
pub async fn follow(inner: Arc<Inner>, container: std::sync::Weak<DockerContainer>, mut last: Taken) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut has_ended = false;
    while let Some(name) = container.upgrade().map(|container| container.name.clone()) {
        let taken = take(&inner, &container, &name, &mut last).await;
        // A stream that began before the end may end without the last of it, Podman's at least.
        if matches!(taken, Err(EngineError::NotFound(_))) || taken.is_ok() && has_ended {
            break;
        }
        has_ended = !is_running(&inner, &name).await;
        if taken.is_err() || !has_ended {
            tokio::time::sleep(backoff.fail()).await;
        }
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
    last: &mut Taken,
) -> Result<(), EngineError> {
    let engine = inner.engine.answers().await;
    let Some(tty) = container.upgrade().map(|container| container.has_terminal()) else { return Ok(()) };
    let mut left_off = *last;
    let since = last.map_or(0, |(at, _)| at.as_second());
    let path = format!("/containers/{name}/logs?follow=1&stdout=1&stderr=1&timestamps=1&since={since}");
    let framing = if tty { Framing::Lines } else { Framing::Framed };
    let mut pieces = raw::read(&engine, &path, framing, &inner.drain).await?;
    while let Some(piece) = pieces.next().await {
        let (stream, piece) = piece.map_err(|error| EngineError::Silent(error.to_string()))?;
        let Some(container) = container.upgrade() else { return Ok(()) };
        match timed(&piece) {
            Some((printed, _)) if was_taken(printed, &mut left_off) => {}
            Some((printed, text)) => {
                container.logs.write_of(stream, text, printed);
                note(printed, last);
            }
            None => container.logs.write(stream, &piece),
        }
    }
    Ok(())
}

/// Whether a piece is one of those that were taken before the stream began.
fn was_taken(printed: Timestamp, left_off: &mut Taken) -> bool {
    match left_off {
        Some((at, _)) if printed < *at => true,
        Some((at, pieces @ 1..)) if printed == *at => {
            *pieces -= 1;
            true
        }
        _ => false,
    }
}

fn note(printed: Timestamp, last: &mut Taken) {
    match last {
        Some((at, pieces)) if printed == *at => *pieces += 1,
        Some((at, _)) if printed < *at => {}
        _ => *last = Some((printed, 1)),
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
    fn each_piece_is_taken_once_however_coarse_its_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut last = None;
        [1, 2, 2].into_iter().for_each(|second| note(at(second), &mut last));
        assert_eq!(last, Some((at(2), 2)));
        let mut left_off = last;
        let again: Vec<_> = [1, 2, 2, 2, 3, 2].map(|second| was_taken(at(second), &mut left_off)).into();
        assert_eq!(again, [true, true, true, false, false, false]);
        assert!(!was_taken(at(1), &mut None));
    }

    #[test]
    fn pieces_tell_their_time() {
        let (printed, text) = timed(b"2026-11-27T15:00:00.123456789Z a b\n").unwrap();
        assert_eq!((printed.subsec_nanosecond(), text), (123_456_789, &b"a b\n"[..]));
        assert_eq!(timed(b"no time"), None);
        assert_eq!(timed(b""), None);
    }
}
