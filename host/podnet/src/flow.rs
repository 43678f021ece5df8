//! A TCP connection of a container, joined to a stream of the pod network: a task that owns its stack, its stream, and its
//! place in the table.
//!
//! One that a container opens is dialed before it is answered, so that the container is refused what the pod network
//! refuses. Half-closes and resets go both ways; what one side does not read, the other is not asked for.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use smoltcp::socket::tcp::State;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};
use wherry_vnet::{DialError, Stream, TryRead};

use crate::flows::{Packet, Place};
use crate::packet;
use crate::podnet::PodNet;
use crate::stack::Stack;

/// How long a container may take to answer a connection.
const CONNECT_MOST: Duration = Duration::from_secs(10);

/// How long a container may keep a connection that its client has left, as Linux has it (`tcp_fin_timeout`).
const ORPHAN_MOST: Duration = Duration::from_secs(60);

/// How many packets are taken in before any is answered: a sender is told once of all that has come.
const PACKETS_AT_ONCE: usize = 16;

/// A connection that is on its way, or there.
struct Flow {
    stack: Stack,
    stream: Stream,
    place: Place,
    /// The container has said that it sends no more.
    finished: bool,
    /// All that the container sends has been passed on, and the end of it.
    delivered: bool,
    /// All that the other end sends has been given to the stack, and the end of it.
    fetched: bool,
    /// When it is looked whether there is another end still, once all is fetched.
    orphan_at: Option<Instant>,
}

/// Answers a container that opens a connection by `first`, and serves the connection to its end.
pub(crate) async fn from_container(net: Arc<PodNet>, place: Place, first: Packet, dialing: OwnedSemaphorePermit) {
    let remote = place.key.remote;
    let stream = match net.dial(remote).await {
        Ok(stream) => stream,
        Err(why) => return net.answer(packet::refusal(&first.bytes, &why)),
    };
    drop(dialing);
    let mut flow = Flow::new(net.stack(remote), stream, place);
    if flow.stack.listen(remote) {
        flow.stack.feed(first);
        flow.run().await;
    }
}

/// Opens a connection to a container for the far end of a stream. The task that serves it is spawned when it is there.
pub(crate) async fn to_container(net: &Arc<PodNet>, place: Place, stream: Stream) -> Result<(), DialError> {
    let (from, to) = (place.key.remote, net.at(place.key.port));
    let mut flow = Flow::new(net.stack(from), stream, place);
    if !flow.stack.connect(from, to) {
        return Err(DialError::Unreachable);
    }
    let late = |_| DialError::Io(std::io::ErrorKind::TimedOut.into());
    timeout(CONNECT_MOST, flow.connected()).await.map_err(late)??;
    net.spawn(flow.run());
    Ok(())
}

impl Flow {
    fn new(stack: Stack, stream: Stream, place: Place) -> Self {
        Self { stack, stream, place, finished: false, delivered: false, fetched: false, orphan_at: None }
    }

    async fn connected(&mut self) -> Result<(), DialError> {
        loop {
            self.stack.poll();
            match self.stack.socket().state() {
                State::SynSent | State::SynReceived => self.woken().await,
                State::Closed => return Err(DialError::Refused),
                _ => return Ok(()),
            }
        }
    }

    async fn run(mut self) {
        loop {
            self.step();
            if self.is_over() {
                return;
            }
            self.woken().await;
        }
    }

    /// Does all that can be done now.
    fn step(&mut self) {
        loop {
            self.stack.poll();
            let (delivered, fetched) = (self.deliver(), self.fetch());
            if !delivered && !fetched {
                return;
            }
        }
    }

    fn is_over(&mut self) -> bool {
        // Whoever closes first would wait for what is still on its way, which here nothing is.
        self.delivered && matches!(self.stack.socket().state(), State::Closed | State::TimeWait | State::Listen)
    }

    /// Passes on what the container has sent. Whether there was something.
    fn deliver(&mut self) -> bool {
        let mut moved = false;
        while !self.delivered && self.stack.socket().can_recv() {
            let room = self.stream.writer.capacity();
            if room == 0 {
                return moved;
            }
            let taken = self.stack.socket().recv(|data| {
                let part = data.get(..room).unwrap_or(data);
                (part.len(), Bytes::copy_from_slice(part))
            });
            moved = true;
            if taken.is_ok_and(|chunk| self.stream.writer.try_write(chunk).is_err()) {
                self.abort();
            }
        }
        moved | self.deliver_end()
    }

    /// Passes on that the container sends no more, when all that it has sent is passed on.
    fn deliver_end(&mut self) -> bool {
        let state = self.stack.socket().state();
        self.finished |= matches!(state, State::CloseWait | State::Closing | State::LastAck | State::TimeWait);
        // A container that takes back what it has asked for leaves the stack listening.
        let is_broken = matches!(state, State::Closed | State::Listen);
        if self.delivered || !(self.finished || is_broken) || self.stack.socket().can_recv() {
            return false;
        }
        if self.finished {
            self.stream.writer.shutdown();
        } else {
            self.stream.writer.reset();
        }
        self.delivered = true;
        true
    }

    /// Gives the stack what the other end has sent. Whether there was something.
    fn fetch(&mut self) -> bool {
        let mut moved = false;
        while let Some(room) = self.room() {
            match self.stream.reader.try_read(room) {
                TryRead::Data(bytes) => {
                    let _all_fits = self.stack.socket().send_slice(&bytes);
                }
                TryRead::Empty => break,
                TryRead::End => {
                    self.stack.socket().close();
                    self.fetched = true;
                    self.orphan_at = Some(Instant::now() + ORPHAN_MOST);
                }
                TryRead::Reset => self.abort(),
            }
            moved = true;
        }
        moved
    }

    /// How much the stack takes for the container; `None` while it takes nothing.
    fn room(&mut self) -> Option<usize> {
        let fetched = self.fetched;
        let socket = self.stack.socket();
        let room = socket.send_capacity().saturating_sub(socket.send_queue());
        (!fetched && socket.may_send() && room > 0).then_some(room)
    }

    /// The other end is gone, and the container hears of it.
    fn abort(&mut self) {
        self.stack.socket().abort();
        self.delivered = true;
        self.fetched = true;
    }

    /// Resolves when there may be something to do.
    async fn woken(&mut self) {
        let at = self.stack.poll_at().into_iter().chain(self.orphan_at).min();
        let woken = std::future::poll_fn(|context| self.poll_woken(context));
        match at {
            Some(at) => drop(timeout_at(at, woken).await),
            None => woken.await,
        }
        self.end_orphan();
    }

    /// A container that does not close what nobody reads any more would keep its place for ever.
    fn end_orphan(&mut self) {
        let now = Instant::now();
        if self.orphan_at.is_none_or(|at| now < at) {
            return;
        }
        self.orphan_at = Some(now + ORPHAN_MOST);
        if !self.delivered && !self.stack.socket().can_recv() && self.stream.writer.capacity() == 0 {
            self.abort();
        }
    }

    fn poll_woken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut ready = false;
        if let Poll::Ready(Some(packet)) = self.place.packets.poll_recv(context) {
            self.stack.feed(packet);
            self.feed_more();
            ready = true;
        }
        if self.room().is_some() {
            ready |= self.stream.reader.poll_readable(context).is_ready();
        }
        let waits = !self.delivered && self.stack.socket().can_recv();
        if waits && self.stream.writer.poll_writable(context).is_ready() {
            // Ready without room: nobody reads any more.
            if self.stream.writer.capacity() == 0 {
                self.abort();
            }
            ready = true;
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    fn feed_more(&mut self) {
        for _ in 1..PACKETS_AT_ONCE {
            let Ok(packet) = self.place.packets.try_recv() else { return };
            self.stack.feed(packet);
        }
    }
}
