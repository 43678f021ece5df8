//! A container's output, written by the sandbox itself into a file that the node has opened: so no line is lost when the
//! node's process is. The node is told how far the file has grown, and gives the next one when it is full.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, Weak};

use wherry_base::Clock;
use wherry_runtime::{LogBuffer, LogSink, StdStream};

use super::locked;
use super::node::Node;
use crate::message::ToNode;

/// How many containers wait for the writing thread.
const WAITING_MAX: usize = 16_384;

/// The thread that writes for all containers.
#[derive(Clone)]
pub(crate) struct Flusher {
    waiting: SyncSender<Arc<FileLog>>,
    node: Arc<Node>,
}

pub(crate) struct FileLog {
    container: String,
    this: Weak<FileLog>,
    flusher: Flusher,
    clock: Arc<dyn Clock>,
    pending: LogBuffer,
    file: Mutex<Output>,
}

struct Output {
    file: File,
    bytes: u64,
}

impl Flusher {
    pub(crate) fn start(node: Arc<Node>) -> io::Result<Self> {
        let (waiting, work) = sync_channel::<Arc<FileLog>>(WAITING_MAX);
        let write_all = move |work: &Receiver<Arc<FileLog>>| work.iter().for_each(|log| log.flush());
        std::thread::Builder::new().name("logs".into()).spawn(move || write_all(&work))?;
        Ok(Self { waiting, node })
    }

    pub(crate) fn log(&self, container: &str, file: File, bytes: u64, clock: Arc<dyn Clock>) -> Arc<FileLog> {
        Arc::new_cyclic(|this| FileLog {
            container: container.to_owned(),
            this: this.clone(),
            flusher: self.clone(),
            clock,
            pending: LogBuffer::default(),
            file: Mutex::new(Output { file, bytes }),
        })
    }
}

impl LogSink for FileLog {
    fn write(&self, stream: StdStream, chunk: &[u8]) {
        if chunk.is_empty() {
            return;
        }
        let hand_over = || self.this.upgrade().is_none_or(|this| self.flusher.waiting.try_send(this).is_ok());
        if self.pending.push(stream, chunk, self.clock.now(), hand_over) {
            self.flush();
        }
    }
}

impl FileLog {
    /// The run is over: what is left is written.
    pub(crate) fn end(&self) {
        self.pending.finish(self.clock.now());
        self.flush();
    }

    /// The node has begun another file, or opened the present one anew.
    pub(crate) fn go_on_in(&self, file: File, bytes: u64) {
        *locked(&self.file) = Output { file, bytes };
    }

    fn flush(&self) {
        let mut output = locked(&self.file);
        let ready = self.pending.take_ready();
        if ready.is_empty() {
            return;
        }
        match output.file.write_all(&ready) {
            Ok(()) => output.bytes += ready.len() as u64,
            Err(error) => tracing::warn!(container = %self.container, %error, "container output is lost"),
        }
        let grown = ToNode::Logged { container: self.container.clone(), bytes: output.bytes };
        drop(output);
        let _told_again_with_the_next_lines = self.flusher.node.try_tell(&grown);
    }
}
