//! Programs that the agent itself runs in containers, for probes and hooks: to their end, with the beginning of what they print.

use std::sync::Arc;

use futures::StreamExt;
use wherry_runtime::{Attached, Container, ExecSpec};

/// How much of a program's output is kept, in bytes: as a kubelet does.
const OUTPUT_BYTES_MAX: usize = 10 << 10;

/// Runs a program to its end. The error is a sentence that says how it went wrong, with what it printed. Has no timeout of its
/// own; a program whose run is given up goes on, at the end of its input.
pub async fn run(container: &Arc<dyn Container>, command: &[String]) -> Result<(), String> {
    let spec = ExecSpec { command: command.to_vec(), ..ExecSpec::default() };
    let Attached { mut output, process, .. } = container.exec(spec).await.map_err(|error| error.to_string())?;
    let mut printed = Vec::new();
    while let Some(chunk) = output.next().await {
        let (_, chunk) = chunk.map_err(|error| error.to_string())?;
        let room = OUTPUT_BYTES_MAX - printed.len();
        printed.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
    }
    match process.exited().await {
        Ok(0) => Ok(()),
        Ok(code) => {
            let printed = String::from_utf8_lossy(&printed);
            Err(format!("command '{}' exited with {code}: {}", command.join(" "), printed.trim_end()))
        }
        Err(error) => Err(error.to_string()),
    }
}
