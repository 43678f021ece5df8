//! Random numbers of the process, made to follow from a seed: the order of hash maps, tokio's `select!`, openraft's
//! elections and uids all begin with the kernel's, which `getrandom` gives.
//!
//! This package has a `getrandom` of its own, which the linker prefers to the C library's (see `build.rs`). It is seeded
//! for the threads of simulations only, and for each of them alone: what other threads draw is the kernel's.

use std::cell::Cell;
use std::ffi::{c_uint, c_void};
use std::thread;

use wherry_base::Rng;

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Runs `work` on a new thread on which all random numbers follow from `seed`. Panics are passed on.
pub fn seeded<T: Send>(seed: u64, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let simulation = scope.spawn(|| {
            SEED.set(Some(seed));
            work()
        });
        simulation.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What the C library's does: see getrandom(2).
///
/// # Safety
///
/// `buffer` points to `length` bytes that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let Ok(Some(seed)) = SEED.try_with(Cell::get) else {
        // SAFETY: the caller's promise is the kernel's condition.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as isize;
    };
    let rng = Rng::seeded(seed);
    for at in (0..length).step_by(8) {
        let bytes = rng.next().to_ne_bytes();
        // SAFETY: `at` and what is left of `length` lie within the caller's bytes, and ours are no part of them.
        unsafe { buffer.byte_add(at).cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), (length - at).min(8)) };
    }
    // Libraries ask for nothing, once, to see whether there is such a call.
    if length > 0 {
        SEED.set(Some(rng.next()));
    }
    length.try_into().unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn draw() -> (Vec<u64>, u128) {
        let set: HashSet<u64> = (0..100).collect();
        (set.into_iter().collect(), uuid::Uuid::new_v4().as_u128())
    }

    #[test]
    fn hash_maps_and_uids_follow_from_the_seed() {
        let first = seeded(1, draw);
        assert_eq!(seeded(1, draw), first);
        let other = seeded(2, draw);
        assert!(other.0 != first.0 && other.1 != first.1);
        assert_ne!(draw().1, draw().1);
    }
}
