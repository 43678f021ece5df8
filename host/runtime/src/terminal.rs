//! A pseudo-terminal, for containers of runtimes that have none of their own.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::FdFlags;
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
        let (mut master, mut slave) = (-1, -1);
        // SAFETY: two places for descriptors, and null for all that need not be said.
        let opened =
            unsafe { libc::openpty(&raw mut master, &raw mut slave, ptr::null_mut(), ptr::null(), ptr::null()) };
        if opened != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both were opened just now, and nobody else has them.
        let terminal = unsafe { Self { master: OwnedFd::from_raw_fd(master), slave: OwnedFd::from_raw_fd(slave) } };
        for side in [&terminal.master, &terminal.slave] {
            rustix::io::fcntl_setfd(side, FdFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(side, true)?;
        }
        let mut modes = rustix::termios::tcgetattr(&terminal.slave)?;
        // What is erased is a character, not a byte of it.
        modes.input_modes |= InputModes::IUTF8;
        rustix::termios::tcsetattr(&terminal.slave, OptionalActions::Now, &modes)?;
        Ok(terminal)
    }
}
