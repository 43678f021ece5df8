//! The network of a pod's containers, with kernel sockets on one side and the pod network on the other. Needs root: where
//! no network namespace can be made, each test says so and is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its echoes end with it"
)]

mod close;
mod datagrams;
mod hostile;
mod localhost;
mod names;
mod streams;
mod world;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Sends back what it hears, and then its end.
async fn echo(stream: impl AsyncRead + AsyncWrite) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let _broken = tokio::io::copy(&mut reader, &mut writer).await;
    let _broken = writer.shutdown().await;
}

/// Says something, ends, and hears the rest.
async fn exchange(stream: impl AsyncRead + AsyncWrite, words: &str) -> std::io::Result<String> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    writer.write_all(words.as_bytes()).await?;
    writer.shutdown().await?;
    let mut heard = String::new();
    reader.read_to_string(&mut heard).await?;
    Ok(heard)
}

/// Bytes that are the same only at their own place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}
