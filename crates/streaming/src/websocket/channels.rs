//! `channel.k8s.io`: the first byte of a message says which channel the rest is of.
//!
//! With v5 a client may end a channel by a message of two bytes: 255 and the channel.

use std::collections::HashMap;
use std::future::Future;

use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use crate::close::LINGER;
use crate::pipe::{BoxWriter, CHUNK_BYTES_MAX, Reader, Writer, reader};

/// How many messages wait to be written.
const MESSAGES_MAX: usize = 32;
/// The channel in which the others are ended.
const END: u8 = 255;

/// The channels of a connection. Each is taken once.
pub struct Channels {
    messages: mpsc::Sender<Message>,
    readers: HashMap<u8, Reader>,
}

/// The channels over `io`, of which the client writes to `inbound`, and what must be awaited for any of it to move: it
/// resolves when the connection has ended.
pub fn channels<S>(io: S, inbound: &[u8]) -> (Channels, impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (messages, queue) = mpsc::channel(MESSAGES_MAX);
    let (mut inlets, mut readers) = (HashMap::new(), HashMap::new());
    for id in inbound {
        let (inlet, reader) = reader();
        inlets.insert(*id, inlet);
        readers.insert(*id, reader);
    }
    let driver = async move {
        let (sink, stream) = super::over(io).await.split();
        let received = std::pin::pin!(receive(stream, inlets));
        let sent = std::pin::pin!(send(sink, queue));
        tokio::select! {
            () = received => {}
            _broken = sent => {}
        }
    };
    (Channels { messages, readers }, driver)
}

impl Channels {
    /// What the client writes to a channel.
    pub fn reader(&mut self, id: u8) -> Option<Reader> {
        self.readers.remove(&id)
    }

    /// What is written to a channel. There is no way to tell the client of its end but the connection's.
    pub fn writer(&self, id: u8) -> BoxWriter {
        Writer::boxed(id.into(), message, self.messages.clone())
    }

    /// Says that all is over; once that is written, the connection ends.
    pub async fn close(self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ended = self.messages.send(Message::Close(Some(frame))).await;
    }
}

fn message(id: u32, chunk: Option<&[u8]>) -> Option<Message> {
    let id = u8::try_from(id).unwrap_or(END);
    chunk.map(|chunk| Message::binary([&[id], chunk].concat()))
}

/// Hands over what comes, until the connection ends or says what is no message of channels.
async fn receive<S>(mut stream: S, mut inlets: HashMap<u8, mpsc::Sender<Bytes>>)
where
    S: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Binary(mut bytes) if !bytes.is_empty() => {
                let id = bytes.split_to(1);
                match (id.first(), bytes.first()) {
                    (Some(&END), Some(ended)) => drop(inlets.remove(ended)),
                    (Some(id), Some(_)) => deliver(&mut inlets, *id, bytes).await,
                    _ => {}
                }
            }
            Message::Text(_) => return,
            _ => {}
        }
    }
}

async fn deliver(inlets: &mut HashMap<u8, mpsc::Sender<Bytes>>, id: u8, mut bytes: Bytes) {
    let Some(inlet) = inlets.get(&id) else { return };
    while !bytes.is_empty() {
        let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
        if inlet.send(chunk).await.is_err() {
            inlets.remove(&id);
            return;
        }
    }
}

async fn send<S>(mut sink: S, mut queue: mpsc::Receiver<Message>) -> tungstenite::Result<()>
where
    S: SinkExt<Message, Error = tungstenite::Error> + Unpin,
{
    while let Some(message) = queue.recv().await {
        let mut is_last = message.is_close();
        sink.feed(message).await?;
        while let Some(message) = (!is_last).then(|| queue.try_recv().ok()).flatten() {
            is_last = message.is_close();
            sink.feed(message).await?;
        }
        sink.flush().await?;
        if is_last {
            // The other end answers, and that ends the connection.
            tokio::time::sleep(LINGER).await;
            return Ok(());
        }
    }
    Ok(())
}
