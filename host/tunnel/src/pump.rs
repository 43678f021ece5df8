//! A connection of the pod network joined to a stream of HTTP/2: back-pressure, half-close and reset in both directions.
//!
//! What is read from one side is handed to the other without being copied. An end of one side is the end of the other
//! side's input, a break of one side is a reset of the other.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use wherry_vnet::{ReadHalf, Stream, TryRead, WriteHalf};

/// How much is taken from a pod at once.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// One of the two sides is gone before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// Copies both ways until both sides have ended, or one breaks.
pub(crate) async fn join(pod: Stream, mut send: SendStream<Bytes>, mut receive: RecvStream) {
    let Stream { mut reader, mut writer, .. } = pod;
    let both = futures::future::try_join(outward(&mut reader, &mut send), inward(&mut receive, &mut writer));
    if both.await.is_err() {
        writer.reset();
        send.send_reset(Reason::CANCEL);
    }
}

async fn outward(pod: &mut ReadHalf, send: &mut SendStream<Bytes>) -> Result<(), Broken> {
    loop {
        tokio::select! {
            () = poll_fn(|context| pod.poll_readable(context)) => {}
            _reset = poll_fn(|context| send.poll_reset(context)) => return Err(Broken),
        }
        match pod.try_read(CHUNK_BYTES_MAX) {
            TryRead::Data(bytes) => send_all(send, bytes).await?,
            TryRead::Empty => {}
            TryRead::End => return send.send_data(Bytes::new(), true).map_err(|_| Broken),
            TryRead::Reset => return Err(Broken),
        }
    }
}

async fn inward(receive: &mut RecvStream, pod: &mut WriteHalf) -> Result<(), Broken> {
    // What the pod has no room for yet. Taken from the connection at once, and in one piece: there a frame costs far more
    // than the byte that it may hold, and too many of them would cost the connection.
    let mut waiting = BytesMut::new();
    let mut is_over = false;
    while !(is_over && waiting.is_empty()) {
        tokio::select! {
            biased;
            () = poll_fn(|context| pod.poll_writable(context)), if !waiting.is_empty() => {
                write_some(receive, pod, &mut waiting)?;
            }
            bytes = receive.data(), if !is_over => match bytes {
                Some(bytes) => take(receive, pod, &mut waiting, bytes.map_err(|_| Broken)?)?,
                None => is_over = true,
            },
        }
    }
    pod.shutdown();
    Ok(())
}

/// Passes on what has come, as it is if nothing else waits and there is room.
fn take(receive: &mut RecvStream, pod: &mut WriteHalf, waiting: &mut BytesMut, bytes: Bytes) -> Result<(), Broken> {
    if waiting.is_empty() && bytes.len() <= pod.capacity() {
        let length = bytes.len();
        pod.try_write(bytes).map_err(|_| Broken)?;
        return receive.flow_control().release_capacity(length).map_err(|_| Broken);
    }
    waiting.extend_from_slice(&bytes);
    Ok(())
}

/// Passes on as much as there is room for.
fn write_some(receive: &mut RecvStream, pod: &mut WriteHalf, waiting: &mut BytesMut) -> Result<(), Broken> {
    let room = pod.capacity().min(waiting.len());
    if room == 0 {
        return Err(Broken);
    }
    pod.try_write(waiting.split_to(room).freeze()).map_err(|_| Broken)?;
    receive.flow_control().release_capacity(room).map_err(|_| Broken)
}

/// Sends as much at a time as the other end has room for.
pub(crate) async fn send_all(send: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), Broken> {
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len());
        while send.capacity() == 0 {
            poll_fn(|context| send.poll_capacity(context)).await.ok_or(Broken)?.map_err(|_| Broken)?;
        }
        let part = bytes.split_to(send.capacity().min(bytes.len()));
        send.send_data(part, false).map_err(|_| Broken)?;
    }
    Ok(())
}
