//! What is said beside the streams themselves: how it went, as a `Status`, and how large the terminal is.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pipe::{BoxWriter, Reader};

/// The longest `Status` that is read, in bytes.
const STATUS_BYTES_MAX: u64 = 64 << 10;
/// The longest size that is read, in bytes.
const SIZE_BYTES_MAX: usize = 256;

/// How a remote command went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The process ended with this code.
    Exited(i32),
    /// Something else went wrong.
    Failed(String),
}

impl Outcome {
    /// Says it to the client.
    pub async fn tell(&self, mut to: BoxWriter) {
        let told = async {
            to.write_all(self.status().to_string().as_bytes()).await?;
            to.shutdown().await
        };
        // A client that has left needs to know nothing.
        let _left: std::io::Result<()> = told.await;
    }

    /// Hears it from the server.
    pub async fn hear(from: Reader) -> Self {
        let mut text = Vec::new();
        match from.take(STATUS_BYTES_MAX).read_to_end(&mut text).await {
            Ok(_) => Self::parse(&text),
            Err(error) => Self::Failed(error.to_string()),
        }
    }

    fn status(&self) -> Value {
        match self {
            Self::Exited(0) => json!({ "metadata": {}, "status": "Success" }),
            Self::Exited(code) => json!({
                "metadata": {},
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "message": format!("command terminated with non-zero exit code: {code}"),
                "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
            }),
            Self::Failed(message) => json!({
                "metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500,
            }),
        }
    }

    fn parse(text: &[u8]) -> Self {
        let Ok(status) = serde_json::from_slice::<Value>(text) else {
            return Self::Failed("the connection ended before the command did".to_owned());
        };
        let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match (text("/status"), text("/reason")) {
            ("Success", _) => Self::Exited(0),
            (_, "NonZeroExitCode") => Self::Exited(text("/details/causes/0/message").parse().unwrap_or(1)),
            _ => Self::Failed(text("/message").to_owned()),
        }
    }
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Size {
    /// Says it to the server.
    pub async fn tell(self, to: &mut BoxWriter) -> std::io::Result<()> {
        let text = json!({ "Width": self.width, "Height": self.height });
        to.write_all(format!("{text}\n").as_bytes()).await
    }
}

/// The sizes that a client's terminal takes.
pub struct Sizes {
    from: Reader,
    carry: Vec<u8>,
}

impl Sizes {
    pub(super) const fn new(from: Reader) -> Self {
        Self { from, carry: Vec::new() }
    }

    /// The next size. `None`: no more are told, or something else was.
    pub async fn next(&mut self) -> Option<Size> {
        loop {
            // An object ends at its first closing brace: it has only numbers.
            if let Some(end) = self.carry.iter().position(|byte| *byte == b'}') {
                let rest = self.carry.split_off(end + 1);
                let size = std::mem::replace(&mut self.carry, rest);
                let size: Value = serde_json::from_slice(&size).ok()?;
                let number = |name: &str| size.get(name)?.as_u64().map(|n| u16::try_from(n).unwrap_or(u16::MAX));
                return Some(Size { width: number("Width")?, height: number("Height")? });
            }
            if self.carry.len() > SIZE_BYTES_MAX || self.from.read_buf(&mut self.carry).await.ok()? == 0 {
                return None;
            }
        }
    }
}
