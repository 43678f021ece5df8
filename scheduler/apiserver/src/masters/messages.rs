//! The log's messages to other masters.
//!
//! Long ones have a line of their own, so that no heartbeat waits behind them. A short one that is not answered soon costs its
//! line: where a machine has gone without a word, TCP would wait on it for minutes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Limited};
use wherry_api::routes::{MASTERS, MESSAGES};
use wherry_store::{MESSAGE_BYTES_MAX, Member, Transport, TransportError};

use super::lines::Lines;

/// A message up to so long is a short one.
const SHORT_BYTES_MAX: usize = 64 << 10;
/// How long the answer to a short message is waited for: a little less than who sends it waits.
const SHORT_PATIENCE: Duration = Duration::from_millis(1800);
/// How many addresses are known to be silent: former members' stay.
const SILENT_MAX: usize = 64;

/// Carries the log's messages to other masters, at their APIs' addresses.
pub struct MasterTransport {
    short: Lines,
    long: Lines,
    /// The addresses at which nobody answers at present: it is told once, not with every heartbeat.
    silent: Mutex<BTreeSet<String>>,
}

impl MasterTransport {
    /// With a master's client certificate.
    pub fn new(tls: &rustls::ClientConfig) -> Self {
        Self { short: Lines::new(tls), long: Lines::new(tls), silent: Mutex::default() }
    }

    async fn post(&self, to: &Member, message: Bytes) -> Result<Bytes, TransportError> {
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

    fn note(&self, to: &Member, answered: &Result<Bytes, TransportError>) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        match answered {
            Ok(_) if silent.remove(&to.address) => tracing::info!(to.name, to.address, "a master answers again"),
            Err(error) if silent.len() < SILENT_MAX && silent.insert(to.address.clone()) => {
                tracing::warn!(to.name, to.address, error = error.0, "a master does not answer");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Transport for MasterTransport {
    async fn send(&self, to: &Member, message: Bytes) -> Result<Bytes, TransportError> {
        let answered = self.post(to, message).await;
        self.note(to, &answered);
        answered
    }
}

async fn post(lines: &Lines, to: &Member, message: Bytes) -> Result<Bytes, TransportError> {
    let path = format!("{MASTERS}{MESSAGES}");
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
