//! The log's messages to other masters.
//!
//! Long ones have a line of their own, so that no heartbeat waits behind them. A short one that is not answered soon costs its
//! line: where a machine has gone without a word, TCP would wait on it for minutes.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Limited};
use wherry_store::{MESSAGE_BYTES_MAX, Member, Transport, TransportError};

use super::lines::Lines;
use super::{MESSAGES, ROOT};

/// A message up to so long is a short one.
const SHORT_BYTES_MAX: usize = 64 << 10;
/// How long the answer to a short message is waited for: a little less than who sends it waits.
const SHORT_PATIENCE: Duration = Duration::from_millis(1800);

/// Carries the log's messages to other masters, at their APIs' addresses.
pub struct MasterTransport {
    short: Lines,
    long: Lines,
}

impl MasterTransport {
    /// With a master's client certificate.
    pub fn new(tls: &rustls::ClientConfig) -> Self {
        Self { short: Lines::new(tls), long: Lines::new(tls) }
    }
}

#[async_trait]
impl Transport for MasterTransport {
    async fn send(&self, to: &Member, message: Bytes) -> Result<Bytes, TransportError> {
        if message.len() > SHORT_BYTES_MAX {
            return post(&self.long, to, message).await;
        }
        match tokio::time::timeout(SHORT_PATIENCE, post(&self.short, to, message)).await {
            Ok(answered) => answered,
            Err(_) => {
                self.short.forget(&to.address);
                Err(TransportError(format!("the master at {} does not answer", to.address)))
            }
        }
    }
}

async fn post(lines: &Lines, to: &Member, message: Bytes) -> Result<Bytes, TransportError> {
    let path = format!("{ROOT}{MESSAGES}");
    let answer = lines.to(&to.address).ask(Method::POST, &path, HeaderMap::new(), message).await;
    let answer = answer.map_err(|error| TransportError(error.to_string()))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MESSAGE_BYTES_MAX).collect().await;
    match body {
        Ok(body) if status.is_success() => Ok(body.to_bytes()),
        Ok(_) => Err(TransportError(format!("the master at {} answers {status}", to.address))),
        Err(error) => Err(TransportError(format!("the answer of the master at {} broke: {error}", to.address))),
    }
}
