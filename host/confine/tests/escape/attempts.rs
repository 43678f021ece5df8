//! The attempts: each a function that answers what the kernel did.

use std::ffi::c_long;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg, socket};

use crate::scene::NOTHING;

use super::{FILE_BYTES_MAX, Inside, call, link_to, receive, write_to};

type Attempt = fn(&Inside) -> io::Result<()>;

pub const ALL: &[(&str, Attempt)] = &[
    ("read a file outside", |i| fs::read(i.root.join("outside/file")).map(drop)),
    ("list a directory outside", |i| fs::read_dir(i.root.join("outside")).map(drop)),
    ("make a file outside", |i| fs::write(i.root.join("outside/new"), "x")),
    ("truncate a file outside", truncate_outside),
    ("follow a symlink outside", |i| link_to(i.root.join("outside/file"), i.root.join("writable/link"))),
    ("link a file of outside into the volume", |i| {
        fs::hard_link(i.root.join("outside/file"), i.root.join("writable/hard"))
    }),
    ("read outside through /proc/self/root", |i| {
        fs::read(format!("/proc/self/root{}/outside/file", i.root.display())).map(drop)
    }),
    ("read the agent's command line", |_| fs::read(format!("/proc/{}/cmdline", agent())).map(drop)),
    ("read its own binary", |_| File::open("/proc/self/exe").map(drop)),
    ("read in a read-only directory", |i| fs::read(i.root.join("readable/file")).map(drop)),
    ("write in a read-only directory", |i| write_to(i.root.join("readable/file"), OpenOptions::new().append(true))),
    ("remove in a read-only directory", |i| fs::remove_file(i.root.join("readable/old"))),
    ("write in a writable directory", |i| {
        write_to(i.root.join("writable/new"), OpenOptions::new().create_new(true).write(true))
    }),
    ("move between writable directories", move_between),
    ("write more than a file may hold", write_much),
    ("make a device", make_device),
    ("change a file's mode", change_mode),
    ("open a TCP socket", |_| Ok(socket(AddressFamily::INET, SocketType::STREAM, None).map(drop)?)),
    ("open a UDP socket", |_| Ok(socket(AddressFamily::INET6, SocketType::DGRAM, None).map(drop)?)),
    ("open a Unix socket", |_| Ok(socket(AddressFamily::UNIX, SocketType::STREAM, None).map(drop)?)),
    ("open a netlink socket", |_| Ok(socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop)?)),
    ("make a pair of datagram sockets", |_| std::os::unix::net::UnixDatagram::pair().map(drop)),
    ("connect a passed socket", |i| Ok(rustix::net::connect(&i.passed[0], &loopback(i.port))?)),
    ("bind a passed socket", |i| Ok(rustix::net::bind(&i.passed[1], &loopback(0))?)),
    ("accept from a passed socket", |i| call(libc::SYS_accept4, [i.passed[2].as_raw_fd().into(), 0, 0, 0, 0, 0])),
    ("listen on a passed socket", |i| Ok(rustix::net::listen(&i.passed[2], 1)?)),
    ("trace the agent", |_| call(libc::SYS_ptrace, [c_long::from(libc::PTRACE_SEIZE), agent(), 0, 0, 0, 0])),
    ("read the agent's memory", |_| call(libc::SYS_process_vm_readv, [agent(), 0, 0, 0, 0, 0])),
    ("signal the agent", |_| call(libc::SYS_kill, [agent(), 0, 0, 0, 0, 0])),
    ("signal a thread of the agent", |_| call(libc::SYS_tgkill, [agent(), agent(), 0, 0, 0, 0])),
    ("fork", |_| fork()),
    ("clone by arguments in memory", |_| call(libc::SYS_clone3, [0; 6])),
    ("run a program", |_| std::process::Command::new("/proc/self/exe").arg(NOTHING).status().map(drop)),
    ("replace itself", |_| replace()),
    ("type into a terminal", |i| type_into(i.root.join("writable/file"))),
    ("raise a limit", |_| raise_limit()),
    ("use a descriptor from before", |i| descriptor(i.before)),
    ("use an inherited descriptor", |i| descriptor(i.leaked)),
    ("start a thread", |_| {
        std::thread::Builder::new().name("worker".into()).spawn(|| ())?.join().map_err(|_| io::ErrorKind::Other.into())
    }),
    ("map compiled code of a file", map_code),
    ("make a memory file", |_| memory_file()),
    ("give memory back", |_| give_back()),
    ("ask which pages were touched", |_| pages_touched()),
    ("catch a signal to itself", |_| catch_signal()),
    ("pass a descriptor", |_| pass_descriptor()),
    ("open /dev/null", |_| write_to("/dev/null".into(), OpenOptions::new().write(true))),
    ("open /dev/urandom", |_| File::open("/dev/urandom")?.read_exact(&mut [0; 8])),
    ("wait for an event", |_| wait_for_event()),
];

fn agent() -> c_long {
    rustix::process::getppid().map_or(0, |pid| c_long::from(pid.as_raw_nonzero().get()))
}

fn loopback(port: u16) -> std::net::SocketAddrV4 {
    std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port)
}

pub fn leads_its_session() -> bool {
    // getsid is refused, so /proc tells.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.get(3) == Some(&std::process::id().to_string().as_str())
}

fn truncate_outside(inside: &Inside) -> io::Result<()> {
    write_to(inside.root.join("outside/file"), OpenOptions::new().write(true).truncate(true))
}

fn move_between(inside: &Inside) -> io::Result<()> {
    let (from, to) = (inside.root.join("writable/a"), inside.root.join("writable/b"));
    fs::create_dir(&from)?;
    fs::create_dir(&to)?;
    fs::write(from.join("x"), "text")?;
    fs::rename(from.join("x"), to.join("y"))?;
    fs::hard_link(to.join("y"), from.join("z"))?;
    fs::remove_dir_all(&from)?;
    fs::remove_dir_all(&to)
}

fn write_much(inside: &Inside) -> io::Result<()> {
    let mut file = File::create(inside.root.join("writable/large"))?;
    let block = vec![0; 1 << 16];
    (0..=FILE_BYTES_MAX >> 16).try_for_each(|_| file.write_all(&block))
}

fn make_device(inside: &Inside) -> io::Result<()> {
    let path = std::ffi::CString::new(inside.root.join("writable/device").to_str().unwrap())?;
    // The numbers of /dev/null, so that even a success harms nobody.
    let (mode, device) = (c_long::from(libc::S_IFCHR | 0o600), libc::makedev(1, 3).cast_signed());
    call(libc::SYS_mknodat, [c_long::from(libc::AT_FDCWD), path.as_ptr() as c_long, mode, device, 0, 0])
}

fn change_mode(inside: &Inside) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(inside.root.join("writable/file"), fs::Permissions::from_mode(0o4777))
}

fn fork() -> io::Result<()> {
    // SAFETY: the child, should there be one, ends at once.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: ends the child without running anything of the parent's.
        0 => unsafe { libc::_exit(0) },
        child => call(libc::SYS_wait4, [child.into(), 0, 0, 0, 0, 0]),
    }
}

fn replace() -> io::Result<()> {
    call(libc::SYS_execve, [c"/nonexistent".as_ptr() as c_long, 0, 0, 0, 0, 0])
}

/// `TIOCSTI` puts a byte into the input of a terminal, such as an inherited standard error may be.
fn type_into(path: std::path::PathBuf) -> io::Result<()> {
    let file = File::open(path)?;
    let byte = b"x";
    call(libc::SYS_ioctl, [file.as_raw_fd().into(), libc::TIOCSTI.cast_signed(), byte.as_ptr() as c_long, 0, 0, 0])
}

fn raise_limit() -> io::Result<()> {
    let same = rustix::process::getrlimit(rustix::process::Resource::Fsize);
    Ok(rustix::process::setrlimit(rustix::process::Resource::Fsize, same)?)
}

fn descriptor(number: RawFd) -> io::Result<()> {
    call(libc::SYS_fcntl, [number.into(), libc::F_GETFD.into(), 0, 0, 0, 0])
}

/// As wasmtime loads compiled code: private and writable, for relocations, then executable.
fn map_code(inside: &Inside) -> io::Result<()> {
    let file = File::open(inside.root.join("readable/file"))?;
    let length = 4096;
    let write = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), length, write, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let execute = c_long::from(libc::PROT_READ | libc::PROT_EXEC);
    call(libc::SYS_mprotect, [mapped as c_long, length as c_long, execute, 0, 0, 0])?;
    call(libc::SYS_munmap, [mapped as c_long, length as c_long, 0, 0, 0, 0])
}

/// As wasmtime keeps the initial image of a memory.
fn memory_file() -> io::Result<()> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let file = memfd_create("image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, 4096)?;
    Ok(fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::WRITE)?)
}

/// By the batched call, which kernels before 6.14 do not know of themselves.
fn give_back() -> io::Result<()> {
    let (advice, this_process) = (c_long::from(libc::MADV_DONTNEED), -10000);
    match call(libc::SYS_process_madvise, [this_process, 0, 0, advice, 0, 0]) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBADF)) => Ok(()),
        result => result,
    }
}

fn pages_touched() -> io::Result<()> {
    let pagemap = File::open("/proc/self/pagemap")?;
    // struct pm_scan_arg: its size, then an empty range, one region of room.
    let region = [0u64; 3];
    let mut argument = [0u64; 12];
    argument[0] = 96;
    argument[5] = region.as_ptr() as u64;
    argument[6] = 1;
    argument[7] = 1;
    match call(libc::SYS_ioctl, [pagemap.as_raw_fd().into(), 0xc060_6610, argument.as_ptr() as c_long, 0, 0, 0]) {
        // Kernels before 6.7.
        Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => Ok(()),
        result => result,
    }
}

/// As a trap of a guest is one: to this thread, on a stack of its own, and back.
fn catch_signal() -> io::Result<()> {
    static CAUGHT: AtomicBool = AtomicBool::new(false);
    extern "C" fn catch(_signal: libc::c_int) {
        CAUGHT.store(true, Ordering::SeqCst);
    }
    // SAFETY: the handler only stores to an atomic; the signal is ours to use.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = catch as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut()) != 0 || libc::raise(libc::SIGUSR1) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    if CAUGHT.load(Ordering::SeqCst) { Ok(()) } else { Err(io::Error::other("not caught")) }
}

fn pass_descriptor() -> io::Result<()> {
    let (mut near, far) = UnixStream::pair()?;
    let (sender, receiver) = UnixStream::pair()?;
    sender.set_nonblocking(true)?;
    let passed: [BorrowedFd<'_>; 1] = [far.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&passed));
    sendmsg(&sender, &[io::IoSlice::new(b"+")], &mut control, SendFlags::NOSIGNAL)?;
    let received = receive(&receiver).pop().ok_or_else(|| io::Error::other("nothing came"))?;
    UnixStream::from(received).write_all(b"hello")?;
    near.read_exact(&mut [0; 5])?;
    near.shutdown(std::net::Shutdown::Both)
}

/// As tokio waits.
fn wait_for_event() -> io::Result<()> {
    use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let event = eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    epoll::add(&poll, &event, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
    let mut ready = Vec::with_capacity(1);
    epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))?;
    if ready.len() == 1 { Ok(()) } else { Err(io::Error::other("nothing happened")) }
}

/// Calls that no sandbox needs and that change nothing when called with zeros.
#[rustfmt::skip]
const NEEDLESS: &[(&str, c_long)] = &[
    ("mount", libc::SYS_mount), ("umount2", libc::SYS_umount2), ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns), ("bpf", libc::SYS_bpf), ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd), ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_setup", libc::SYS_io_setup), ("keyctl", libc::SYS_keyctl), ("add_key", libc::SYS_add_key),
    ("open_by_handle_at", libc::SYS_open_by_handle_at), ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("setuid", libc::SYS_setuid), ("setgid", libc::SYS_setgid), ("setresuid", libc::SYS_setresuid),
    ("setgroups", libc::SYS_setgroups), ("capset", libc::SYS_capset), ("chroot", libc::SYS_chroot),
    ("chdir", libc::SYS_chdir), ("pivot_root", libc::SYS_pivot_root), ("fchown", libc::SYS_fchown),
    ("fsetxattr", libc::SYS_fsetxattr), ("pidfd_open", libc::SYS_pidfd_open), ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal), ("process_vm_writev", libc::SYS_process_vm_writev),
    ("process_madvise of others", libc::SYS_process_madvise), ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo),
    ("tkill", libc::SYS_tkill), ("shmget", libc::SYS_shmget), ("msgget", libc::SYS_msgget), ("semget", libc::SYS_semget),
    ("mq_open", libc::SYS_mq_open), ("inotify_init1", libc::SYS_inotify_init1),
    ("fanotify_init", libc::SYS_fanotify_init), ("timer_create", libc::SYS_timer_create),
    ("signalfd4", libc::SYS_signalfd4), ("pipe2", libc::SYS_pipe2), ("splice", libc::SYS_splice),
    ("vmsplice", libc::SYS_vmsplice), ("tee", libc::SYS_tee), ("sendfile", libc::SYS_sendfile),
    ("sendmmsg", libc::SYS_sendmmsg), ("recvmmsg", libc::SYS_recvmmsg),
    ("seccomp", libc::SYS_seccomp), ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
    ("execveat", libc::SYS_execveat), ("wait4", libc::SYS_wait4), ("sched_setaffinity", libc::SYS_sched_setaffinity),
    ("setpriority", libc::SYS_setpriority), ("setsid", libc::SYS_setsid), ("kcmp", libc::SYS_kcmp),
    ("quotactl", libc::SYS_quotactl), ("init_module", libc::SYS_init_module), ("syslog", libc::SYS_syslog),
    ("personality", libc::SYS_personality), ("prctl", libc::SYS_prctl), ("ioctl", libc::SYS_ioctl),
    ("fsopen", libc::SYS_fsopen), ("clone", libc::SYS_clone), ("a call yet unknown", 4000),
];

/// The names of needless calls that answer anything but `EPERM`.
pub fn calls_that_pass() -> String {
    let refused = |call_number| call(call_number, [0; 6]).is_err_and(|e| e.raw_os_error() == Some(libc::EPERM));
    NEEDLESS.iter().filter(|(_, number)| !refused(*number)).map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}
