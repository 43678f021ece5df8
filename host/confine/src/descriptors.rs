//! Closing what a process inherited.

use std::io;
use std::os::fd::RawFd;

/// The first descriptor that is not standard input, output or error.
const FIRST: u32 = 3;

/// Closes every descriptor but 0, 1, 2 and `kept`.
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    gaps(kept).into_iter().try_for_each(|(first, last)| match close_range(first, last) {
        // Kernels before 5.9.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => close_one_by_one(first, last),
        result => result,
    })
}

/// `close_range(2)`, without libc's wrapper, which old libraries lack.
fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the call takes no pointer. That no one in this process owns these descriptors is the promise of `confine`'s
    // callers: before anything opens one.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn close_one_by_one(first: u32, last: u32) -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?.collect::<io::Result<Vec<_>>>()?;
    let open = names.iter().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for descriptor in open.filter(|d| (first..=last).contains(d)) {
        // SAFETY: as above. The directory's own descriptor is closed already, and EBADF says so.
        unsafe { libc::close(descriptor.cast_signed()) };
    }
    Ok(())
}

/// The ranges of descriptors, both ends included, between those that are kept.
fn gaps(kept: &[RawFd]) -> Vec<(u32, u32)> {
    let mut kept: Vec<u32> = kept.iter().filter_map(|&d| u32::try_from(d).ok()).filter(|&d| d >= FIRST).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut gaps = Vec::new();
    let mut next = FIRST;
    for descriptor in kept {
        if descriptor > next {
            gaps.push((next, descriptor - 1));
        }
        next = descriptor + 1;
    }
    gaps.push((next, u32::MAX));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lie_between_what_is_kept() {
        assert_eq!(gaps(&[]), [(3, u32::MAX)]);
        assert_eq!(gaps(&[3]), [(4, u32::MAX)]);
        assert_eq!(gaps(&[7, 3, 1, 8, 7, -1]), [(4, 6), (9, u32::MAX)]);
    }
}
