//! Requests and their answers between the node and one sandbox: many at once over one connection, as messages.
//!
//! What HTTP/1.1 would cost twice more, writing and parsing, and what a connection for each would cost, a system call and a
//! wake-up for every head, is spared: frames of all exchanges share both. `Channel` is one end: it knows which exchanges are
//! open and takes in what the other end says of them. Neither end holds more of a body than a window, nor more frames than
//! fit its buffer. How requests are made and answered is not here, but in `node` and `guests`.

mod exchange;
mod exchanges;
mod frame;
mod inbound;
mod outbound;
mod outgoing;
mod sending;

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use futures::future::{AbortHandle, Abortable};
use http::response;
use tokio::io::AsyncReadExt;
use wherry_base::Drain;
use wherry_vnet::{ReadHalf, Stream};

use exchange::{End, Exchange};
use exchanges::{Exchanges, Open};
use frame::FrameError;
use outgoing::Outgoing;

pub(crate) use exchange::Begun;
pub(crate) use exchange::End as BodyEnd;
pub(crate) use frame::{Frame, Piece, What};
pub(crate) use inbound::Inbound;
pub(crate) use outbound::Outbound;
pub(crate) use sending::{Head, Sending};
#[cfg(test)]
pub(crate) use {exchange::WINDOW_BYTES, frame::PIECE_BYTES_MAX};

/// How much one read takes at most.
const READ_BYTES: usize = 32 * 1024;

/// One end of a channel.
pub(crate) struct Channel {
    outgoing: Outgoing,
    exchanges: Mutex<Exchanges>,
    drain: Drain,
}

/// What the other end has done that no channel is kept up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Violation(pub(crate) &'static str);

/// Why a channel has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("the channel ended")]
    Ended,
    #[error("what came over the channel: {0}")]
    Frame(#[from] FrameError),
    #[error("what came over the channel: {0}")]
    Violation(#[from] Violation),
    #[error("the channel: {0}")]
    Io(#[from] io::Error),
    #[error("the channel is not read")]
    Unread,
}

impl Channel {
    /// An end without exchanges; `drain` owns the tasks that send bodies.
    pub(crate) fn new(drain: Drain) -> Arc<Self> {
        Arc::new(Self { outgoing: Outgoing::default(), exchanges: Mutex::default(), drain })
    }

    /// Carries frames both ways until one end is gone or at fault. All exchanges end with it. `hear` takes what the frames
    /// of this end's peer alone say, the others are heard here.
    pub(crate) async fn run(
        &self,
        stream: Stream,
        hear: impl FnMut(u64, What<'_>) -> Result<(), Violation>,
    ) -> ChannelError {
        let _however_it_ends = Closes(self);
        let Stream { reader, writer, .. } = stream;
        tokio::select! {
            ended = read(reader, hear) => ended.err().unwrap_or(ChannelError::Ended),
            () = self.outgoing.write_to(writer) => ChannelError::Unread,
        }
    }

    /// Ends all exchanges; no further ones begin.
    fn close(&self) {
        let mut exchanges = self.lock();
        exchanges.is_closed = true;
        let open = std::mem::take(&mut exchanges.open);
        drop(exchanges);
        self.outgoing.close();
        open.into_values().for_each(Open::cut);
    }

    /// A new exchange; `None` when there are too many, or the other end is gone.
    pub(crate) fn open(self: &Arc<Self>) -> Option<(Sending, Inbound)> {
        let mut exchanges = self.lock();
        let number = exchanges.next;
        let exchange = exchanges.add(number, true)?;
        drop(exchanges);
        Some(self.ends(number, exchange))
    }

    /// An exchange that the other end has begun.
    pub(crate) fn accept(self: &Arc<Self>, number: u64, piece: Piece<'_>) -> Result<(Sending, Inbound), Violation> {
        let mut exchanges = self.lock();
        let exchange = exchanges.add(number, !piece.is_last).ok_or(Violation("it has opened too many exchanges"))?;
        drop(exchanges);
        let ends = self.ends(number, Arc::clone(&exchange));
        exchange.begun(piece)?;
        Ok(ends)
    }

    fn ends(self: &Arc<Self>, number: u64, exchange: Arc<Exchange>) -> (Sending, Inbound) {
        let sending = Sending { channel: Arc::clone(self), number, exchange: Arc::clone(&exchange) };
        (sending, Inbound { channel: Arc::clone(self), number, exchange, untold: 0, is_over: false })
    }

    /// Runs what sends this end's part of an exchange, until the other end wants no more of it.
    pub(crate) fn spawn(&self, number: u64, task: impl Future<Output = ()> + Send + 'static) {
        let (sender, registration) = AbortHandle::new_pair();
        if let Some(open) = self.lock().open.get_mut(&number) {
            open.sender = Some(sender);
        }
        self.drain.spawn_graceful(async move {
            let _not_wanted = Abortable::new(task, registration).await;
        });
    }

    /// Takes in what either end may say.
    pub(crate) fn hear(&self, number: u64, what: What<'_>) -> Result<(), Violation> {
        match what {
            What::Data(piece) => self.receive(number, piece.is_last, |exchange| exchange.received(piece)),
            What::Trailers(trailers) => self.receive_end(number, End::Whole(Some(trailers))),
            What::Cut => self.receive_end(number, End::Cut),
            What::Credit(bytes) => {
                let exchange = self.lock().find(number)?.map(|open| Arc::clone(&open.exchange));
                exchange.map_or(Ok(()), |exchange| exchange.credited(bytes as usize))
            }
            What::Enough => {
                let sender = self.lock().find(number)?.and_then(|open| open.sender.take());
                self.sent(number);
                sender.iter().for_each(AbortHandle::abort);
                Ok(())
            }
            What::Request { .. } | What::Response { .. } | What::Refused => Err(Violation("it has mistaken its part")),
        }
    }

    /// The answer has come.
    pub(crate) fn answered(&self, number: u64, head: response::Parts, piece: Piece<'_>) -> Result<(), Violation> {
        self.receive(number, piece.is_last, |exchange| exchange.answered(head, piece))
    }

    /// There will be no answer, and nothing more of the request is wanted.
    pub(crate) fn refused(&self, number: u64) -> Result<(), Violation> {
        self.receive_end(number, End::Refused)?;
        self.hear(number, What::Enough)
    }

    fn receive_end(&self, number: u64, end: End) -> Result<(), Violation> {
        self.receive(number, true, |exchange| {
            exchange.ended(end);
            Ok(())
        })
    }

    fn receive(
        &self,
        number: u64,
        is_last: bool,
        take_in: impl FnOnce(&Exchange) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let mut exchanges = self.lock();
        // What was left meanwhile may still be on its way.
        let Some(open) = exchanges.find(number)?.filter(|open| open.receives) else { return Ok(()) };
        let exchange = Arc::clone(&open.exchange);
        if is_last {
            open.receives = false;
            exchanges.tidy(number);
        }
        drop(exchanges);
        take_in(&exchange)
    }

    fn push(&self, exchange: u64, what: What<'_>) -> Result<(), FrameError> {
        self.outgoing.push(&Frame { exchange, what })
    }

    /// Says what is no head, and so never too long but for a body's trailers.
    fn say(&self, number: u64, what: What<'_>) {
        if self.push(number, what).is_err() {
            let _short = self.push(number, What::Cut);
        }
    }

    /// Waits until a head may be sent.
    pub(crate) async fn room(&self) {
        poll_fn(|context| self.poll_room(context)).await;
    }

    fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        self.outgoing.poll_room(context)
    }

    /// This end's part is sent. Whether it was not before.
    fn sent(&self, number: u64) -> bool {
        let mut exchanges = self.lock();
        let sends = exchanges.open.get_mut(&number).is_some_and(|open| std::mem::take(&mut open.sends));
        exchanges.tidy(number);
        sends
    }

    fn break_off(&self, number: u64) {
        if self.sent(number) {
            self.say(number, What::Cut);
        }
    }

    fn refuse(&self, number: u64) {
        if self.forget(number) {
            self.say(number, What::Refused);
        }
    }

    /// Nothing more is said of an exchange, or heard. Whether it was open.
    pub(crate) fn forget(&self, number: u64) -> bool {
        self.lock().open.remove(&number).is_some()
    }

    /// Nobody reads the other end's part any more.
    fn leave(&self, number: u64) {
        let mut exchanges = self.lock();
        let received = exchanges.open.get_mut(&number).is_some_and(|open| std::mem::take(&mut open.receives));
        exchanges.tidy(number);
        drop(exchanges);
        if received {
            self.say(number, What::Enough);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Exchanges> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a channel that nobody carries any more.
struct Closes<'a>(&'a Channel);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Reads frames to the end.
async fn read(
    mut reader: ReadHalf,
    mut hear: impl FnMut(u64, What<'_>) -> Result<(), Violation>,
) -> Result<(), ChannelError> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        let read = reader.read_buf(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        while let Some((Frame { exchange, what }, length)) = Frame::decode(&buffer)? {
            hear(exchange, what)?;
            buffer.advance(length);
        }
        if read >= READ_BYTES {
            // There is more: the others' turn first, however fast it comes.
            tokio::task::yield_now().await;
        }
    }
}
