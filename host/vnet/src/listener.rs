//! A listening port: a bounded queue of connections that wait to be accepted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::dial::DialError;
use crate::namespace::{BindError, Namespace};
use crate::pipe::park;
use crate::services::Protocol;
use crate::stream::Stream;

/// How many connections wait for their `accept` before further ones are turned away.
pub const LISTENER_BACKLOG_MAX: usize = 1024;

/// A listening port. Unbinds when dropped.
#[derive(Debug)]
pub struct Listener {
    local: SocketAddr,
    backlog: Arc<Backlog>,
    namespace: Weak<Namespace>,
}

/// The connections that wait, shared by the listener and its namespace's port table.
#[derive(Debug, Default)]
pub(crate) struct Backlog(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    streams: VecDeque<Stream>,
    waker: Option<Waker>,
    closed: bool,
}

impl Listener {
    pub(crate) const fn new(local: SocketAddr, backlog: Arc<Backlog>, namespace: Weak<Namespace>) -> Self {
        Self { local, backlog, namespace }
    }

    /// The address it is bound to.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// The listener, once it is sure that no container of the pod has the port: `InUse` where one has. Where the pod has modules
    /// only, that is sure at once.
    pub async fn settled(self) -> Result<Self, BindError> {
        let namespace = self.namespace.upgrade().ok_or(BindError::Closed)?;
        if namespace.keeps(Protocol::Tcp, self.local).await { Ok(self) } else { Err(BindError::InUse) }
    }

    /// Takes a waiting connection. `None`: nobody waits. An error: the listener was closed, as at a pod's end.
    pub fn try_accept(&mut self) -> Result<Option<Stream>, BindError> {
        let mut waiting = self.backlog.lock();
        match waiting.streams.pop_front() {
            None if waiting.closed => Err(BindError::Closed),
            stream => Ok(stream),
        }
    }

    /// Ready when `try_accept` would not give `Ok(None)`.
    pub fn poll_acceptable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.backlog.lock();
        if waiting.closed || !waiting.streams.is_empty() {
            return Poll::Ready(());
        }
        park(&mut waiting.waker, context);
        Poll::Pending
    }

    /// Waits for a connection; `None` once the listener was closed.
    pub async fn accept(&mut self) -> Option<Stream> {
        loop {
            std::future::poll_fn(|context| self.poll_acceptable(context)).await;
            match self.try_accept() {
                Ok(Some(stream)) => return Some(stream),
                Ok(None) => {}
                Err(_closed) => return None,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(namespace) = self.namespace.upgrade() {
            namespace.unbind_tcp(&self.backlog);
        }
        self.backlog.close();
        let waiting = std::mem::take(&mut self.backlog.lock().streams);
        waiting.iter().for_each(Stream::abort);
    }
}

impl Backlog {
    /// Hands a connection over.
    pub(crate) fn offer(&self, stream: Stream) -> Result<(), DialError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(DialError::Refused);
        }
        if waiting.streams.len() >= LISTENER_BACKLOG_MAX {
            return Err(DialError::Overloaded);
        }
        waiting.streams.push_back(stream);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes no more connections; those that wait can still be accepted.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
