//! A load generator that costs little: one thread, fixed request bytes, answers read just far enough to find their end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

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

/// Requests at a steady rate, which go on whatever becomes of them.
pub struct Steady {
    done: Arc<AtomicBool>,
    generator: JoinHandle<anyhow::Result<Outcome>>,
}

/// What became of steady requests.
pub struct Outcome {
    /// Of those that were answered with 200.
    pub latency: Samples,
    /// What each other one met.
    pub failures: Vec<String>,
}

impl Steady {
    /// Sends `GET /` for `host`, so many a second over so many connections together.
    pub fn begin(server: SocketAddr, host: &str, connections: usize, per_second: usize) -> anyhow::Result<Self> {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
        let done = Arc::new(AtomicBool::new(false));
        let period = Duration::from_secs_f64(connections as f64 / per_second as f64);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let is_done = Arc::clone(&done);
        let generator = thread::spawn(move || {
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for _ in 0..connections {
                    clients.spawn(steadily(server, request.clone(), period, Arc::clone(&is_done)));
                }
                let (mut samples, mut failures) = (Vec::new(), Vec::new());
                while let Some(ended) = clients.join_next().await {
                    let (answered, failed) = ended?;
                    samples.extend(answered);
                    failures.extend(failed);
                }
                Ok(Outcome { latency: Samples::new(samples), failures })
            })
        });
        Ok(Self { done, generator })
    }

    /// Finishes the requests that are on their way, of each connection one at least.
    pub fn end(self) -> anyhow::Result<Outcome> {
        self.done.store(true, Ordering::Relaxed);
        self.generator.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))?
    }
}

async fn steadily(
    server: SocketAddr,
    request: Vec<u8>,
    period: Duration,
    done: Arc<AtomicBool>,
) -> (Vec<Duration>, Vec<String>) {
    let (mut samples, mut failures, mut connection) = (Vec::new(), Vec::new(), None);
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let sent = Instant::now();
        match ask(server, &request, &mut connection).await {
            Ok(()) => samples.push(sent.elapsed()),
            Err(error) => {
                failures.push(format!("{error:#} after {:?}", sent.elapsed()));
                connection = None;
            }
        }
        if done.load(Ordering::Relaxed) {
            return (samples, failures);
        }
    }
}

/// One request over the connection that is there, or a new one.
async fn ask(server: SocketAddr, request: &[u8], connection: &mut Option<TcpStream>) -> anyhow::Result<()> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            connection.insert(stream)
        }
    };
    stream.write_all(request).await?;
    read_answer(stream, &mut [0; ANSWER_BYTES_MAX]).await
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
