//! A process and its client: each gets what the other says, until the process has said everything.

use std::io;

use futures::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use wherry_runtime::{Attached, ExecError, StdStream, TerminalSize};
use wherry_streaming::remote_command::{Outcome, Streams};

/// When a client is told that all went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When the process has ended, with its exit code.
    Exited,
    /// When it has closed its output; its exit code is the pod's matter.
    OutputEnded,
}

/// A process that a client has asked for.
pub struct Process {
    /// The process, or why there is none.
    pub started: Result<Attached, ExecError>,
    /// When the client is told how it went.
    pub until: Until,
    /// Whether it has a terminal.
    pub tty: bool,
}

impl Process {
    /// Couples it with its client, to the end.
    pub async fn couple(self, mut streams: Streams) {
        let outcome = match self.started {
            Ok(attached) => run(attached, self.until, self.tty, &mut streams).await,
            Err(error) => Outcome::Failed(error.to_string()),
        };
        for mut writer in [streams.stdout.take(), streams.stderr.take()].into_iter().flatten() {
            let _left = writer.shutdown().await;
        }
        outcome.tell(streams.error).await;
    }
}

async fn run(attached: Attached, until: Until, tty: bool, streams: &mut Streams) -> Outcome {
    let Attached { stdin, mut output, process } = attached;
    let (typed, mut sizes) = (streams.stdin.take(), streams.sizes.take());
    let typing = async {
        if let Some((mut to, mut from)) = stdin.zip(typed) {
            // A process need not read to the end.
            let _closed = tokio::io::copy(&mut from, &mut to).await;
            let _closed = to.shutdown().await;
        }
        std::future::pending::<()>().await;
    };
    let resizing = async {
        while let Some(size) = next(sizes.as_mut()).await {
            process.resize(size).await;
        }
        std::future::pending::<()>().await;
    };
    let printing = async {
        while let Some(printed) = output.next().await {
            let (stream, chunk) = printed?;
            let is_error = stream == StdStream::Err && !tty;
            print(if is_error { streams.stderr.as_mut() } else { streams.stdout.as_mut() }, &chunk).await?;
        }
        match until {
            Until::Exited => process.exited().await,
            Until::OutputEnded => Ok(0),
        }
    };
    let ended = tokio::select! {
        ended = printing => ended,
        () = typing => return Outcome::Exited(0),
        () = resizing => return Outcome::Exited(0),
    };
    match ended {
        Ok(code) => Outcome::Exited(code),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

async fn next(sizes: Option<&mut wherry_streaming::remote_command::Sizes>) -> Option<TerminalSize> {
    let size = sizes?.next().await?;
    Some(TerminalSize { width: size.width, height: size.height })
}

async fn print(to: Option<&mut (impl AsyncWrite + Unpin)>, chunk: &[u8]) -> io::Result<()> {
    match to {
        Some(to) => to.write_all(chunk).await,
        None => Ok(()),
    }
}
