//! A container's output, written by the sandbox itself into a file that the node has opened: so no line is lost when the
//! node's process is. The node is told how far the file has grown, and gives the next one when it is full. While no node
//! is there to do so, the file grows as large as all that a node keeps of a run; the rest is dropped.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, Weak};

use jiff::Timestamp;
use wherry_base::Clock;
use wherry_runtime::{LOG_FILE_BYTES_MAX, LOG_FILES_MAX, LogBuffer, LogLines, LogSink, StdStream};

use super::locked;
use super::node::Node;
use crate::message::ToNode;

/// How many containers wait for the writing thread.
const WAITING_MAX: usize = 16_384;

/// How large a file grows that no node rotates, in bytes.
const FILE_BYTES_MAX: u64 = LOG_FILE_BYTES_MAX * LOG_FILES_MAX as u64;
/// The last line of one that has come to that.
const CUT: &str = "[wherry: no node rotates this log; what is printed from here on is dropped until one does]\n";

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
    /// Whether a node was there to hear how large the file is.
    is_heard: bool,
    /// Whether output is dropped.
    is_cut: bool,
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
            file: Mutex::new(Output::new(file, bytes)),
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
        *locked(&self.file) = Output::new(file, bytes);
    }

    fn flush(&self) {
        let mut output = locked(&self.file);
        let ready = self.pending.take_ready();
        if ready.is_empty() {
            return;
        }
        if let Err(error) = output.append(&ready, || self.clock.now()) {
            tracing::warn!(container = %self.container, %error, "container output is lost");
        }
        let grown = ToNode::Logged { container: self.container.clone(), bytes: output.bytes };
        output.is_heard = self.flusher.node.try_tell(&grown) == Some(true);
    }
}

impl Output {
    /// A node has given it.
    const fn new(file: File, bytes: u64) -> Self {
        Self { file, bytes, is_heard: true, is_cut: false }
    }

    /// Appends records, or drops them where the file must not grow any more.
    fn append(&mut self, ready: &[u8], now: impl FnOnce() -> Timestamp) -> io::Result<()> {
        let is_cut = !self.is_heard && self.bytes >= FILE_BYTES_MAX;
        let was_cut = std::mem::replace(&mut self.is_cut, is_cut);
        match (was_cut, is_cut) {
            (_, false) => self.write(ready),
            (false, true) => {
                let mut notice = LogLines::default();
                notice.push(StdStream::Err, CUT.as_bytes(), now());
                self.write(&notice.take_ready())
            }
            (true, true) => Ok(()),
        }
    }

    fn write(&mut self, records: &[u8]) -> io::Result<()> {
        self.file.write_all(records)?;
        self.bytes += records.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wherry_base::SystemClock;

    use super::*;

    #[test]
    fn a_log_that_no_node_rotates_has_an_end() {
        let scratch = tempfile::tempdir().unwrap();
        let open = |name| File::options().create(true).append(true).open(scratch.path().join(name)).unwrap();
        let flusher = Flusher::start(Node::new()).unwrap();
        let log = flusher.log("c", open("first"), FILE_BYTES_MAX - 1, SystemClock::shared());
        let print = |line: &str| {
            log.write(StdStream::Out, line.as_bytes());
            log.flush();
        };
        ["to the brim\n", "dropped\n", "dropped too\n"].into_iter().for_each(print);
        log.go_on_in(open("second"), 0);
        print("again\n");
        let texts = |name| -> Vec<String> {
            let log = fs::read_to_string(scratch.path().join(name)).unwrap();
            log.lines().map(|line| line.splitn(4, ' ').last().unwrap().to_owned()).collect()
        };
        assert_eq!(texts("first"), ["to the brim", CUT.trim_end()]);
        assert_eq!(texts("second"), ["again"]);
    }
}
