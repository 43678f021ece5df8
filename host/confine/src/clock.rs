//! What a process has used of the CPU, as the kernel counts it.

use std::mem::MaybeUninit;
use std::time::Duration;

/// The CPU time of all threads of a process since its start; `None` where there is none of that number.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let pid = i32::try_from(pid).ok()?;
    let (mut clock, mut time) = (0, MaybeUninit::<libc::timespec>::uninit());
    // SAFETY: the kernel writes a clock's number into the one, and a time into the other, both of which outlive the calls;
    // the time is read only where it was written.
    let time = unsafe {
        if libc::clock_getcpuclockid(pid, &raw mut clock) != 0 || libc::clock_gettime(clock, time.as_mut_ptr()) != 0 {
            return None;
        }
        time.assume_init()
    };
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_there_has_used_some() {
        assert!(cpu_time(std::process::id()).is_some_and(|time| !time.is_zero()));
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
