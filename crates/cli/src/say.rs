//! Writing to stdout. Where nobody reads any more (`wherry get pods | head -1`), the program ends without a word, as others do.

use std::fmt;
use std::io::{self, Write};

use wherry_api::Reason;

/// What a shell shows of a program that SIGPIPE ended.
const BROKEN_PIPE_CODE: i32 = 141;

/// Writes to stdout, at once.
pub fn say(text: fmt::Arguments<'_>) {
    let mut out = io::stdout();
    ended(out.write_fmt(text).and_then(|()| out.flush()));
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

/// An error as kubectl words it: what the server has refused bears the reason.
pub fn error_line(error: &anyhow::Error) -> String {
    match error.downcast_ref::<wherry_api::Error>() {
        // That of a server which is not there is the client's own.
        Some(refusal) if refusal.reason != Reason::ServiceUnavailable => {
            format!("Error from server ({}): {error:#}", refusal.reason.word())
        }
        _ => format!("error: {error:#}"),
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

#[cfg(test)]
mod tests {
    use wherry_api::Error;

    use super::*;

    #[test]
    fn an_error_says_who_refused() {
        let told = |reason| error_line(&anyhow::Error::new(Error::new(reason, "why")).context("what"));
        assert_eq!(told(Reason::NotFound), "Error from server (NotFound): what: why");
        assert_eq!(told(Reason::ServiceUnavailable), "error: what: why");
        assert_eq!(error_line(&anyhow::anyhow!("why")), "error: why");
    }
}
