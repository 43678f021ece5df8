//! Whether anything was heard of a connection's other end: a pong may wait behind much else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncRead;
use tokio_util::io::InspectReader;

/// How often something was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<AtomicU64>);

/// A connection whose reads are counted.
pub(crate) type Counted<T> = InspectReader<T, Box<dyn FnMut(&[u8]) + Send>>;

impl Heard {
    pub(crate) fn times(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A connection, and what is heard over it.
    pub(crate) fn over<T: AsyncRead>(connection: T) -> (Counted<T>, Self) {
        let heard = Self::default();
        let times = Arc::clone(&heard.0);
        let count = move |read: &[u8]| {
            if !read.is_empty() {
                times.fetch_add(1, Ordering::Relaxed);
            }
        };
        (InspectReader::new(connection, Box::new(count)), heard)
    }
}
