//! A load generator that costs little: one thread, fixed request bytes, answers read just far enough to find their end.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::figures::Samples;

const HEAD_END: &[u8] = b"\r\n\r\n";
const CHUNKED_END: &[u8] = b"0\r\n\r\n";
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What a run of requests came to.
pub struct Load {
    /// Answers in each second.
    pub per_second: f64,
    /// From the first byte of a request to the last of its answer.
    pub latency: Samples,
}

/// Sends `GET /` for `host` over each of `connections`, one request after the other, for `time`.
///
/// # Errors
/// The first connection that breaks, or answer that is not 200, ends the run.
pub fn run(server: SocketAddr, host: &str, connections: usize, time: Duration) -> anyhow::Result<Load> {
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
    let generator = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(all(server, request, connections, time))
    });
    generator.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))?
}

async fn all(server: SocketAddr, request: Vec<u8>, connections: usize, time: Duration) -> anyhow::Result<Load> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        clients.spawn(one(server, request.clone(), began + time));
    }
    let mut samples = Vec::new();
    while let Some(ended) = clients.join_next().await {
        samples.extend(ended??);
    }
    let per_second = samples.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Load { per_second, latency: Samples::new(samples) })
}

async fn one(server: SocketAddr, request: Vec<u8>, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut samples, mut buffer) = (Vec::new(), vec![0; ANSWER_BYTES_MAX]);
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(samples);
        }
        stream.write_all(&request).await?;
        read_answer(&mut stream, &mut buffer).await?;
        samples.push(sent.elapsed());
    }
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut length = 0;
    loop {
        let read = stream.read(buffer.get_mut(length..).unwrap_or_default()).await?;
        ensure!(read > 0, "the connection ended, or an answer was longer than {ANSWER_BYTES_MAX} bytes");
        length += read;
        let answer = buffer.get(..length).unwrap_or_default();
        if is_whole(answer)? {
            ensure!(answer.starts_with(b"HTTP/1.1 200"), "an answer was not 200: {}", String::from_utf8_lossy(answer));
            return Ok(());
        }
    }
}

/// Whether an answer's last byte is there, by its `content-length` or its last chunk (RFC 9112, section 6).
fn is_whole(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(head) = answer.windows(HEAD_END.len()).position(|window| window == HEAD_END) else { return Ok(false) };
    let text = std::str::from_utf8(answer.get(..head).unwrap_or_default())?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    let Some(length) = length else { return Ok(answer.ends_with(CHUNKED_END)) };
    let length: usize = length.trim().parse().context("content-length")?;
    Ok(answer.len() >= head + HEAD_END.len() + length)
}
