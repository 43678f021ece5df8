//! Reading the CRI's log format, which the runtimes write.

use jiff::Timestamp;
use wherry_runtime::StdStream;

/// A record, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When, as written.
    pub time: &'a [u8],
    /// `stdout` or `stderr`.
    pub stream: &'a [u8],
    /// Whether the line ends here.
    pub full: bool,
    /// What was printed, without the end of the line.
    pub text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a line of a log file, without its end; `None` where it is none of ours.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.splitn(4, |&byte| byte == b' ');
        let (time, stream, tag, text) = (words.next()?, words.next()?, words.next()?, words.next()?);
        Some(Self { time, stream, full: tag == b"F", text })
    }

    /// Whether it is of this stream.
    pub fn is_of(&self, stream: StdStream) -> bool {
        self.stream == if stream == StdStream::Out { b"stdout" } else { b"stderr" }
    }

    /// When.
    pub fn at(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok()?.parse().ok()
    }
}
