//! Programs that a fake container knows: what exec starts there.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tokio_util::io::ReaderStream;

use crate::{Attached, ExecError, ExecSpec, Process, StdStream, TerminalSize};

/// How much `cat` holds, in bytes.
const PIPE_BYTES: usize = 64 << 10;
/// The exit code of what was killed: 128 + SIGKILL.
const KILLED_CODE: i32 = 137;

type Output = BoxStream<'static, io::Result<(StdStream, Bytes)>>;

/// A program that runs, or has ended.
struct Program {
    code: watch::Sender<Option<i32>>,
    sizes: watch::Sender<TerminalSize>,
}

/// Starts `echo WORD…`, `complain WORD…` (an echo to stderr), `exit CODE`, `cat`, `size` (says the first size that its
/// terminal takes) or `hang`.
pub(super) fn start(spec: &ExecSpec) -> Result<Attached, ExecError> {
    let words: Vec<&str> = spec.command.iter().map(String::as_str).collect();
    let (program, rest) = words.split_first().ok_or_else(|| ExecError::Failed("no command".to_owned()))?;
    let process = Arc::new(Program { code: watch::Sender::new(None), sizes: watch::Sender::default() });
    let mut stdin = None;
    let mut code = 0;
    let output: Output = match *program {
        "echo" => said(StdStream::Out, rest),
        "complain" => said(StdStream::Err, rest),
        "exit" => {
            code = rest.first().and_then(|word| word.parse().ok()).unwrap_or(0);
            stream::empty().boxed()
        }
        "cat" => {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            let (read, _) = tokio::io::split(theirs);
            stdin = spec.stdin.then(|| Box::pin(ours) as _);
            ReaderStream::new(read).map(|chunk| chunk.map(|chunk| (StdStream::Out, chunk))).boxed()
        }
        "size" => {
            let mut sizes = process.sizes.subscribe();
            let size = async move {
                let size = *sizes.wait_for(|size| *size != TerminalSize::default()).await.map_err(io::Error::other)?;
                Ok((StdStream::Out, format!("{}x{}", size.width, size.height).into()))
            };
            stream::once(size).boxed()
        }
        "hang" => stream::pending().boxed(),
        other => return Err(ExecError::Failed(format!("exec: \"{other}\": executable file not found in $PATH"))),
    };
    let ending = process.clone();
    let ended = stream::once(async move { ending.code.send_replace(Some(code)) }).filter_map(async |_| None);
    Ok(Attached { stdin, output: output.chain(ended).boxed(), process })
}

fn said(stream: StdStream, words: &[&str]) -> Output {
    let text = words.join(" ") + "\n";
    stream::once(async move { Ok((stream, text.into())) }).boxed()
}

#[async_trait]
impl Process for Program {
    async fn exited(&self) -> io::Result<i32> {
        let mut code = self.code.subscribe();
        let code = code.wait_for(Option::is_some).await.map_err(io::Error::other)?;
        code.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    async fn resize(&self, size: TerminalSize) {
        self.sizes.send_replace(size);
    }

    async fn kill(&self) {
        self.code.send_replace(Some(KILLED_CODE));
    }
}
