//! Output on its way to the CRI's log format: `TIME STREAM TAG TEXT`, a line a record; tag F ends a line, P does not.

use crate::StdStream;
use jiff::Timestamp;

/// A longer line is cut into records of this length.
const RECORD_BYTES_MAX: usize = 16 << 10;

/// Chunks on their way to records.
#[derive(Default)]
pub struct LogLines {
    ready: Vec<u8>,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl LogLines {
    /// Takes what was printed at `now`; a line without its end waits for more.
    pub fn push(&mut self, stream: StdStream, chunk: &[u8], now: Timestamp) {
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            let part = self.part(stream);
            part.extend_from_slice(piece);
            let full = part.pop_if(|last| *last == b'\n').is_some();
            if full || part.len() >= RECORD_BYTES_MAX {
                self.emit(stream, full, now);
            }
        }
    }

    /// Lines that never ended become records without an end.
    pub fn finish(&mut self, now: Timestamp) {
        for stream in [StdStream::Out, StdStream::Err] {
            if !self.part(stream).is_empty() {
                self.emit(stream, false, now);
            }
        }
    }

    /// How many bytes of records wait.
    pub fn ready_bytes(&self) -> usize {
        self.ready.len()
    }

    /// Takes the records.
    pub fn take_ready(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ready)
    }

    fn part(&mut self, stream: StdStream) -> &mut Vec<u8> {
        match stream {
            StdStream::Out => &mut self.out,
            StdStream::Err => &mut self.err,
        }
    }

    fn emit(&mut self, stream: StdStream, full: bool, now: Timestamp) {
        let text = std::mem::take(self.part(stream));
        let word = if stream == StdStream::Out { "stdout" } else { "stderr" };
        let mut rest = text.as_slice();
        while rest.len() > RECORD_BYTES_MAX {
            let (record, more) = rest.split_at(RECORD_BYTES_MAX);
            self.record(now, word, false, record);
            rest = more;
        }
        self.record(now, word, full, rest);
    }

    fn record(&mut self, now: Timestamp, stream: &str, full: bool, text: &[u8]) {
        let tag = if full { 'F' } else { 'P' };
        self.ready.extend_from_slice(format!("{now:.9} {stream} {tag} ").as_bytes());
        self.ready.extend_from_slice(text);
        self.ready.push(b'\n');
    }
}
