//! Writing to stdout. Where nobody reads any more (`wherry get pods | head -1`), the program ends without a word, as others do.

use std::fmt;
use std::io::{self, Write};

/// What a shell shows of a program that SIGPIPE ended.
const BROKEN_PIPE_CODE: i32 = 141;

/// Writes to stdout.
pub fn say(text: fmt::Arguments<'_>) {
    ended(io::stdout().write_fmt(text));
}

/// Writes bytes to stdout, at once.
pub fn say_bytes(bytes: &[u8]) {
    let mut out = io::stdout();
    ended(out.write_all(bytes).and_then(|()| out.flush()));
}

fn ended(written: io::Result<()>) {
    if let Err(error) = written {
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("error: cannot write: {error}");
        }
        std::process::exit(BROKEN_PIPE_CODE);
    }
}

/// `print!`, to people who may stop reading.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::say(format_args!($($text)*)) };
}

/// `println!`, to people who may stop reading.
macro_rules! sayln {
    () => { $crate::say::say(format_args!("\n")) };
    ($text:literal $($more:tt)*) => { $crate::say::say(format_args!("{}\n", format_args!($text $($more)*))) };
}
