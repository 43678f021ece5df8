//! Programs that the agent itself runs in containers, for probes and hooks: to their end, with the beginning of what they print.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use wherry_runtime::{Attached, Container, ExecError, ExecSpec};

/// How much of a program's output is kept, in bytes: as a kubelet does.
const OUTPUT_BYTES_MAX: usize = 10 << 10;

/// Why a program has not ended well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It did not start, or ended with another code than 0: a sentence, with what it printed.
    #[error("{0}")]
    Failed(String),
    /// It ran for too long, and was killed.
    #[error("it ran for too long")]
    Late,
    /// The container's runtime did not answer: nothing is known of the program.
    #[error("{0}")]
    Unknown(String),
}

/// Runs a program to its end, for `limit` at most; as long may its start take.
pub async fn run(container: &Arc<dyn Container>, command: &[String], limit: Duration) -> Result<(), Failure> {
    let spec = ExecSpec { command: command.to_vec(), ..ExecSpec::default() };
    let mut attached = match tokio::time::timeout(limit, container.exec(spec)).await {
        Ok(started) => started?,
        Err(_) => return Err(Failure::Unknown(format!("not started within {} s", limit.as_secs()))),
    };
    if let Ok(ended) = tokio::time::timeout(limit, end(&mut attached, command)).await {
        return ended;
    }
    attached.process.kill().await;
    Err(Failure::Late)
}

async fn end(attached: &mut Attached, command: &[String]) -> Result<(), Failure> {
    let unknown = |error: std::io::Error| Failure::Unknown(error.to_string());
    let Attached { output, process, .. } = attached;
    let mut printed = Vec::new();
    while let Some(chunk) = output.next().await {
        let (_, chunk) = chunk.map_err(unknown)?;
        let room = OUTPUT_BYTES_MAX - printed.len();
        printed.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
    }
    match process.exited().await.map_err(unknown)? {
        0 => Ok(()),
        code => {
            let printed = String::from_utf8_lossy(&printed);
            Err(Failure::Failed(format!("command '{}' exited with {code}: {}", command.join(" "), printed.trim_end())))
        }
    }
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Unavailable(message) => Self::Unknown(message),
            ExecError::Unsupported(message) | ExecError::Failed(message) => Self::Failed(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use futures::StreamExt;
    use wherry_runtime::{Exit, Process, TerminalSize, Usage};

    use super::*;

    /// A container whose programs hang, and whose runtime may, too.
    struct Hung {
        start: Result<(), Option<ExecError>>,
        program: Arc<Program>,
    }

    #[derive(Default)]
    struct Program(AtomicBool);

    #[async_trait]
    impl Container for Hung {
        async fn exited(&self) -> Exit {
            std::future::pending().await
        }

        fn stop(&self) {}

        fn kill(&self) {}

        fn usage(&self) -> Usage {
            Usage::default()
        }

        async fn exec(&self, _: ExecSpec) -> Result<Attached, ExecError> {
            match &self.start {
                Ok(()) => {}
                Err(Some(error)) => return Err(error.clone()),
                Err(None) => std::future::pending().await,
            }
            let output = futures::stream::pending().boxed();
            Ok(Attached { stdin: None, output, process: Arc::clone(&self.program) as Arc<dyn Process> })
        }
    }

    #[async_trait]
    impl Process for Program {
        async fn exited(&self) -> io::Result<i32> {
            std::future::pending().await
        }

        async fn resize(&self, _: TerminalSize) {}

        async fn kill(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_hangs_is_killed_and_a_runtime_that_hangs_says_nothing() {
        let silent = || "it does not answer".to_owned();
        let refused = || "no such program".to_owned();
        for (start, expected, is_killed) in [
            (Ok(()), Failure::Late, true),
            (Err(Some(ExecError::Unavailable(silent()))), Failure::Unknown(silent()), false),
            (Err(Some(ExecError::Failed(refused()))), Failure::Failed(refused()), false),
            (Err(None), Failure::Unknown("not started within 2 s".to_owned()), false),
        ] {
            let program = Arc::<Program>::default();
            let container: Arc<dyn Container> = Arc::new(Hung { start, program: Arc::clone(&program) });
            assert_eq!(run(&container, &[], Duration::from_secs(2)).await, Err(expected));
            assert_eq!(program.0.load(Ordering::SeqCst), is_killed);
        }
    }
}
