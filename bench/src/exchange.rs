//! The exchange that networks are measured by, over sockets of the kernel: one byte there and back, again and again, then many
//! bytes one way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

/// Where an exchange is served.
pub const PORT: u16 = 8080;
/// How many bytes go one way.
pub const BYTES: u64 = 1 << 30;
/// How many of them at a time.
pub const CHUNK_BYTES: usize = 128 * 1024;
/// How often one byte goes there and back.
pub const ROUND_TRIPS: u32 = 20_000;

/// What an exchange came to.
pub struct Figures {
    /// Bytes a second.
    pub rate: f64,
    /// What one byte takes there and back.
    pub round_trip: Duration,
}

/// The client's end.
pub fn ask(mut stream: TcpStream) -> anyhow::Result<Figures> {
    stream.set_nodelay(true)?;
    let (chunk, mut byte) = (vec![7; CHUNK_BYTES], [7]);
    let began = Instant::now();
    for _ in 0..ROUND_TRIPS {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
    }
    let round_trip = began.elapsed() / ROUND_TRIPS;
    let began = Instant::now();
    for _ in 0..BYTES / CHUNK_BYTES as u64 {
        stream.write_all(&chunk)?;
    }
    stream.read_exact(&mut byte)?;
    Ok(Figures { rate: BYTES as f64 / began.elapsed().as_secs_f64(), round_trip })
}

/// The server's end.
pub fn serve(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (mut chunk, mut byte) = (vec![0; CHUNK_BYTES], [0]);
    for _ in 0..ROUND_TRIPS {
        stream.read_exact(&mut byte)?;
        stream.write_all(&byte)?;
    }
    let mut left = BYTES;
    while left > 0 {
        let length = stream.read(&mut chunk)? as u64;
        ensure!(length > 0, "the client ended early");
        left -= length;
    }
    Ok(stream.write_all(&byte)?)
}
