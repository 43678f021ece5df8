//! `exec` and `attach`: stdin, stdout, stderr, the terminal's size, and how it went.
//!
//! Follows `k8s.io/kubelet/pkg/cri/streaming/remotecommand` and `k8s.io/client-go/tools/remotecommand`, of whose versions v4
//! and v5 are spoken: how it went is a `Status`, and with v5 a WebSocket client can end stdin.

mod status;
#[cfg(test)]
mod tests;

pub use status::{Outcome, Size, Sizes};

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::close::over;
use crate::pipe::{BoxWriter, Reader};
use crate::{Form, OPENING_MAX, spdy, websocket};

/// What is spoken, the best first.
pub const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// The header that says which of the streams a SPDY stream is.
const STREAM_TYPE: &str = "streamtype";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const NAMES: [&str; 5] = ["stdin", "stdout", "stderr", "error", "resize"];

/// Which streams a client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// It sends stdin.
    pub stdin: bool,
    /// It takes stdout.
    pub stdout: bool,
    /// It takes stderr.
    pub stderr: bool,
    /// It has a terminal, and says its size.
    pub tty: bool,
}

impl Wanted {
    fn has(self, id: u8) -> bool {
        match id {
            STDIN => self.stdin,
            STDOUT => self.stdout,
            STDERR => self.stderr,
            RESIZE => self.tty,
            _ => true,
        }
    }
}

/// The streams of one remote command, those that were asked for.
pub struct Streams {
    /// What the client types.
    pub stdin: Option<Reader>,
    /// What the process says.
    pub stdout: Option<BoxWriter>,
    /// What else it says.
    pub stderr: Option<BoxWriter>,
    /// The sizes of the client's terminal.
    pub sizes: Option<Sizes>,
    /// How it went; see [`Outcome::tell`].
    pub error: BoxWriter,
}

/// Gives `work` the streams over `io` and carries them until it ends, or the connection does. `false`: the client did not open
/// in time what it had announced, or left.
pub async fn serve<S, W, F>(io: S, form: Form, wanted: Wanted, work: W) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
    W: FnOnce(Streams) -> F,
    F: Future<Output = ()>,
{
    match form {
        Form::WebSocket => {
            let (mut channels, driver) = websocket::channels(io, &[STDIN, RESIZE]);
            let streams = Streams {
                stdin: channels.reader(STDIN).filter(|_| wanted.stdin),
                stdout: wanted.stdout.then(|| channels.writer(STDOUT)),
                stderr: wanted.stderr.then(|| channels.writer(STDERR)),
                sizes: channels.reader(RESIZE).filter(|_| wanted.tty).map(Sizes::new),
                error: channels.writer(ERROR),
            };
            over(driver, work(streams), channels.close()).await.is_some()
        }
        Form::Spdy => {
            let (connection, incoming, driver) = spdy::server(io);
            let work = async {
                let opened = tokio::time::timeout(OPENING_MAX, opened(incoming, wanted)).await;
                let Ok(Some((streams, _incoming))) = opened else { return false };
                work(streams).await;
                true
            };
            over(driver, work, connection.close()).await == Some(true)
        }
    }
}

/// The streams of a SPDY client, once all are there. What opens more of them is to be kept.
async fn opened(mut incoming: spdy::Incoming, wanted: Wanted) -> Option<(Streams, spdy::Incoming)> {
    let mut found: [Option<spdy::Stream>; 5] = Default::default();
    let is_complete =
        |found: &[Option<spdy::Stream>; 5]| (0..).zip(found).all(|(id, stream)| stream.is_some() || !wanted.has(id));
    while !is_complete(&found) {
        let stream = incoming.recv().await?;
        let kind = stream.headers.get(STREAM_TYPE);
        let slot = NAMES.iter().zip(&mut found).find(|(name, _)| **name == kind).map(|(_, slot)| slot)?;
        *slot = Some(stream);
    }
    let [stdin, stdout, stderr, error, sizes] = found;
    let writer = |stream: Option<spdy::Stream>| stream.map(|stream| stream.writer);
    let streams = Streams {
        stdin: stdin.filter(|_| wanted.stdin).map(|stream| stream.reader),
        stdout: writer(stdout.filter(|_| wanted.stdout)),
        stderr: writer(stderr.filter(|_| wanted.stderr)),
        sizes: sizes.filter(|_| wanted.tty).map(|stream| Sizes::new(stream.reader)),
        error: writer(error)?,
    };
    Some((streams, incoming))
}

/// The client's ends of the same streams.
pub struct Asked {
    /// What is typed; shutting it down is its end.
    pub stdin: Option<BoxWriter>,
    /// What the process says.
    pub stdout: Option<Reader>,
    /// What else it says.
    pub stderr: Option<Reader>,
    /// Where sizes of the terminal are told; see [`Size::tell`].
    pub sizes: Option<BoxWriter>,
    /// How it went; see [`Outcome::hear`].
    pub error: Reader,
}

/// Opens what is wanted of a server over SPDY.
pub async fn open(connection: &spdy::Connection, wanted: Wanted) -> std::io::Result<Asked> {
    let open = async |id: u8| {
        let name = NAMES.get(usize::from(id)).copied().unwrap_or_default();
        // Only stdin and the sizes are written by the client.
        let fin = id != STDIN && id != RESIZE;
        let opening = async { connection.open(spdy::Headers::from([(STREAM_TYPE, name)]), fin).await.map(Some) };
        if wanted.has(id) { opening.await } else { Ok(None) }
    };
    let error = open(ERROR).await?.ok_or(std::io::ErrorKind::BrokenPipe)?;
    let (stdin, stdout, stderr, sizes) =
        (open(STDIN).await?, open(STDOUT).await?, open(STDERR).await?, open(RESIZE).await?);
    Ok(Asked {
        stdin: stdin.map(|stream| stream.writer),
        stdout: stdout.map(|stream| stream.reader),
        stderr: stderr.map(|stream| stream.reader),
        sizes: sizes.map(|stream| stream.writer),
        error: error.reader,
    })
}
