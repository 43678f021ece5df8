//! Where a container's output goes.

use std::fs::File;
use std::io;

use jiff::Timestamp;

/// A file of a container's output that is larger than this is rotated, in bytes.
pub const LOG_FILE_BYTES_MAX: u64 = 10 << 20;
/// How many files of a run of a container are kept, the present one included.
pub const LOG_FILES_MAX: u32 = 5;

/// Which stream a chunk belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdStream {
    /// stdout.
    Out,
    /// stderr.
    Err,
}

/// Takes a container's output. Must not block for long: a guest's thread calls it.
pub trait LogSink: Send + Sync + 'static {
    /// Takes a chunk, which may hold any number of lines or a part of one.
    fn write(&self, stream: StdStream, chunk: &[u8]);

    /// Takes a chunk that was printed at a time of the past.
    fn write_of(&self, stream: StdStream, chunk: &[u8], _printed: Timestamp) {
        self.write(stream, chunk);
    }

    /// When the last thing was printed that is in the file, and how many of that time are there; `None` where nothing is.
    fn last(&self) -> Option<(Timestamp, usize)> {
        None
    }

    /// The file that another process appends records to instead, and how many bytes it has.
    fn file(&self) -> io::Result<(File, u64)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Another process has appended: the file has so many bytes now. The next file, where that was too much for one.
    fn grown(&self, _bytes: u64) -> io::Result<Option<File>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
