//! The terminal of who types: whether there is one, its size, and keys that go where they are meant to, not to the terminal.

use std::io::{self, IsTerminal};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use wherry_streaming::remote_command::Size;

/// A terminal whose keys arrive as they are typed; dropping it makes the terminal what it was.
pub struct Raw(Termios);

impl Raw {
    /// `None`: stdin is no terminal.
    pub fn set() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &self.0) {
            eprintln!("error: the terminal stays as it is; type `reset`: {error}");
        }
    }
}

/// The terminal's size; `None`: there is no terminal.
pub fn size() -> Option<Size> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(Size { width: size.ws_col, height: size.ws_row }).filter(|size| size.width > 0 && size.height > 0)
}
