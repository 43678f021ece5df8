//! A container's memory: what its instances hold together, against its limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// How many elements a table may have: 8 bytes each.
const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// What a container's instances hold, in bytes of linear memory.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicU64,
    limit: u64,
}

/// A call that ended because the container reached its memory limit.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("memory limit of {limit} bytes reached: {wanted} bytes wanted")]
pub(crate) struct OomKilled {
    pub(crate) limit: u64,
    pub(crate) wanted: u64,
}

impl Memory {
    pub(crate) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), limit: limit.unwrap_or(u64::MAX) })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> Result<(), OomKilled> {
        let wanted = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if wanted <= self.limit {
            return Ok(());
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        Err(OomKilled { limit: self.limit, wanted })
    }
}

/// One instance's part of the container's memory; given back when it is dropped.
pub(crate) struct Share {
    memory: Arc<Memory>,
    held: u64,
}

impl Share {
    pub(crate) fn of(memory: &Arc<Memory>) -> Self {
        Self { memory: Arc::clone(memory), held: 0 }
    }
}

impl ResourceLimiter for Share {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        self.memory.take(more)?;
        self.held += more;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_one_limit_and_give_back() {
        let memory = Memory::new(Some(100));
        let (mut a, mut b) = (Share::of(&memory), Share::of(&memory));
        assert!(a.memory_growing(0, 60, None).unwrap());
        let error = b.memory_growing(0, 60, None).unwrap_err();
        assert_eq!(error.downcast_ref::<OomKilled>().unwrap().wanted, 120);
        drop(a);
        assert!(b.memory_growing(0, 60, None).unwrap());
        assert_eq!(memory.used(), 60);
    }
}
