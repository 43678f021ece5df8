//! Where a container's output goes.

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
}
