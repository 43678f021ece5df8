//! The table of system calls that a sandbox may make: what the standard library, libc, mimalloc, tokio, wasmtime and
//! wasmtime-wasi make, read off their sources. Calls whose arguments decide are at the end.
//!
//! Left out on purpose, because no guest needs them: making sockets, connecting and accepting (streams are passed by the
//! agent, whose own connections alone are accepted), programs and processes, signals to others, modes, owners and extended
//! attributes of files, pipes and `splice` (`std::io::copy` does without), `io_uring`, and everything that sets up
//! namespaces, keys, mounts or tracing.

use std::collections::BTreeMap;

use libc::{c_int, c_ulong};
use seccompiler::{
    BackendError, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition as Condition, SeccompRule as Rule,
};

use crate::start::SOCKET;

/// `_IOWR('f', 16, struct pm_scan_arg)`, of 96 bytes: which pages of its own memory a process touched.
const PAGEMAP_SCAN: u32 = 0xc060_6610;

/// libc does not name it for every aarch64.
#[cfg(not(target_arch = "x86_64"))]
const RENAMEAT: i64 = 38;
#[cfg(target_arch = "x86_64")]
const RENAMEAT: i64 = libc::SYS_renameat;

/// "This process" in place of a descriptor of a process.
const PIDFD_SELF: c_int = -10000;

/// The flags with which libc makes a thread, and a process never is: any other clone is refused.
const THREAD: c_ulong = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as c_ulong;

/// Calls that pass whatever their arguments are. The kernel caches these, so they cost nothing.
#[rustfmt::skip]
pub const ALLOWED: &[i64] = &[
    // Memory. Wasmtime maps compiled code executable; memory files are the initial images of guests' memories.
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk,
    libc::SYS_msync, libc::SYS_memfd_create, libc::SYS_membarrier,
    // Threads and time.
    libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_getcpu, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_restart_syscall,
    libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_gettimeofday, libc::SYS_getrandom,
    // Signals to itself: a trap of a guest is one.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    // Who and how much.
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_getrusage, libc::SYS_sysinfo, libc::SYS_getcwd,
    // Events.
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2,
    libc::SYS_ppoll,
    // Descriptors, whatever they are of.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_fstat,
    // Files, where Landlock lets them be opened.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_fstatfs, libc::SYS_statfs,
    libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_getdents64, libc::SYS_readlinkat, libc::SYS_mkdirat,
    libc::SYS_unlinkat, RENAMEAT, libc::SYS_renameat2, libc::SYS_linkat, libc::SYS_symlinkat,
    libc::SYS_utimensat, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_fsync,
    libc::SYS_fdatasync,
    // Sockets that were passed.
    libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_recvfrom, libc::SYS_shutdown, libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Older names that libc uses where the processor has them.
    #[cfg(target_arch = "x86_64")] libc::SYS_open, #[cfg(target_arch = "x86_64")] libc::SYS_stat,
    #[cfg(target_arch = "x86_64")] libc::SYS_lstat, #[cfg(target_arch = "x86_64")] libc::SYS_access,
    #[cfg(target_arch = "x86_64")] libc::SYS_readlink, #[cfg(target_arch = "x86_64")] libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")] libc::SYS_rmdir, #[cfg(target_arch = "x86_64")] libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")] libc::SYS_rename, #[cfg(target_arch = "x86_64")] libc::SYS_link,
    #[cfg(target_arch = "x86_64")] libc::SYS_symlink, #[cfg(target_arch = "x86_64")] libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")] libc::SYS_poll, #[cfg(target_arch = "x86_64")] libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")] libc::SYS_time,
];

const FCNTL: &[c_int] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
];

const SOCKET_OPTIONS_READ: &[(c_int, c_int)] = &[
    (libc::SOL_SOCKET, libc::SO_ERROR),
    (libc::SOL_SOCKET, libc::SO_TYPE),
    (libc::SOL_SOCKET, libc::SO_DOMAIN),
    (libc::SOL_SOCKET, libc::SO_PROTOCOL),
    (libc::SOL_SOCKET, libc::SO_PEERCRED),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
];

const SOCKET_OPTIONS_WRITTEN: &[(c_int, c_int)] = &[
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
];

/// Calls that pass where one of their rules holds.
pub fn conditional(own_pid: u32) -> Result<BTreeMap<i64, Vec<Rule>>, BackendError> {
    let one_of = |argument: u8, values: &[u32]| -> Result<Vec<Rule>, BackendError> {
        values.iter().map(|&value| Rule::new(vec![int(argument, value)?])).collect()
    };
    let options = |pairs: &[(c_int, c_int)]| -> Result<Vec<Rule>, BackendError> {
        let rule = |(level, name): &(c_int, c_int)| {
            Rule::new(vec![int(1, level.cast_unsigned())?, int(2, name.cast_unsigned())?])
        };
        pairs.iter().map(rule).collect()
    };
    let fcntl: Vec<u32> = FCNTL.iter().map(|command| command.cast_unsigned()).collect();
    // Requests are taken as 32 bits by the kernel, whatever width libc gives them.
    // The size of a terminal that was passed.
    let ioctl =
        [libc::FIONBIO as u32, libc::FIOCLEX as u32, libc::FIONREAD as u32, libc::TIOCSWINSZ as u32, PAGEMAP_SCAN];
    let prctl = [libc::PR_SET_NAME.cast_unsigned(), libc::PR_SET_VMA.cast_unsigned()];
    Ok(BTreeMap::from([
        (libc::SYS_clone, vec![Rule::new(vec![long_masked(0, !(libc::CLONE_DETACHED as u64), THREAD)?])?]),
        // Abort and re-raised signals: to threads of this process only.
        (libc::SYS_tgkill, one_of(0, &[own_pid])?),
        (libc::SYS_fcntl, one_of(1, &fcntl)?),
        (libc::SYS_ioctl, one_of(1, &ioctl)?),
        (libc::SYS_prctl, one_of(0, &prctl)?),
        // Reading limits of its own, which the setting of a thread's stack does.
        (libc::SYS_prlimit64, vec![Rule::new(vec![int(0, 0)?, long(2, 0)?])?]),
        // Wasmtime gives the pages of many memories back at once.
        (libc::SYS_process_madvise, one_of(0, &[PIDFD_SELF.cast_unsigned()])?),
        // Pairs of connected streams; a datagram socket could send to any address.
        (libc::SYS_socketpair, vec![Rule::new(vec![int(0, libc::AF_UNIX.cast_unsigned())?, stream()?])?]),
        // The agent's next process comes by the socket that the sandbox inherited.
        (libc::SYS_accept4, one_of(0, &[SOCKET.unsigned_abs()])?),
        // Without an address.
        (libc::SYS_sendto, vec![Rule::new(vec![long(4, 0)?])?]),
        (libc::SYS_getsockopt, options(SOCKET_OPTIONS_READ)?),
        (libc::SYS_setsockopt, options(SOCKET_OPTIONS_WRITTEN)?),
    ]))
}

fn int(argument: u8, value: u32) -> Result<Condition, BackendError> {
    Condition::new(argument, Width::Dword, Is::Eq, value.into())
}

fn long(argument: u8, value: u64) -> Result<Condition, BackendError> {
    Condition::new(argument, Width::Qword, Is::Eq, value)
}

fn long_masked(argument: u8, mask: u64, value: u64) -> Result<Condition, BackendError> {
    Condition::new(argument, Width::Qword, Is::MaskedEq(mask), value)
}

fn stream() -> Result<Condition, BackendError> {
    let flags = (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK).cast_unsigned();
    Condition::new(1, Width::Dword, Is::MaskedEq((!flags).into()), libc::SOCK_STREAM.cast_unsigned().into())
}
