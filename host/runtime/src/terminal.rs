//! A pseudo-terminal, for containers of runtimes that have none of their own.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::termios::{InputModes, OptionalActions};

/// Both sides of a terminal. Neither blocks.
#[derive(Debug)]
pub struct Terminal {
    /// What is typed goes in here, and what is shown comes out.
    pub master: OwnedFd,
    /// The guest's stdin, stdout and stderr.
    pub slave: OwnedFd,
}

impl Terminal {
    /// A new one, which echoes, lets lines be edited, and gives the guest whole ones. A machine has as many as its
    /// `kernel.pty.max` says.
    pub fn open() -> io::Result<Self> {
        /// Such from the start: a process that is spawned meanwhile must not get them.
        const FLAGS: libc::c_int = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: it takes no pointers.
        let master = opened(unsafe { libc::posix_openpt(FLAGS) })?;
        // SAFETY: it takes no pointers.
        if unsafe { libc::unlockpt(master.as_raw_fd()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: its argument is a number, the flags of the other side.
        let slave = opened(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, FLAGS) })?;
        let mut modes = rustix::termios::tcgetattr(&slave)?;
        // What is erased is a character, not a byte of it.
        modes.input_modes |= InputModes::IUTF8;
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &modes)?;
        Ok(Self { master, slave })
    }
}

/// The descriptor that a system call has answered with.
fn opened(answer: libc::c_int) -> io::Result<OwnedFd> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was opened just now, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}
