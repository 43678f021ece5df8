//! Measures a stream over `std::net`: `stream-meter serve ADDRESS` is one end, `stream-meter measure ADDRESS` the other,
//! which prints `{"round_trip_ns": …, "bytes_per_second": …}`. `cargo xtask bench` runs it in pods and over loopback.

use std::io::{Error, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Instant;

/// What a connection is for is its first byte.
const ECHO: u8 = b'e';
const SINK: u8 = b's';
const ROUND_TRIPS: u32 = 5_000;
const CHUNK_BYTES: usize = 64 * 1024;
const SENT_BYTES: usize = 1 << 30;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", address] => serve(address),
        ["measure", address] => measure(address),
        _ => Err(Error::other("usage: stream-meter serve|measure ADDRESS")),
    }
}

fn serve(address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {address}");
    while let Ok((mut stream, _)) = listener.accept() {
        if let Err(error) = end(&mut stream) {
            println!("{error}");
        }
    }
    Ok(())
}

/// One connection; a probe says nothing and goes.
fn end(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut purpose = [0];
    match stream.read(&mut purpose)? {
        0 => Ok(()),
        _ if purpose == [ECHO] => echo(stream),
        _ => sink(stream),
    }
}

fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Counts what comes, and tells the sum.
fn sink(stream: &mut TcpStream) -> std::io::Result<()> {
    let (mut buffer, mut sum) = (vec![0; CHUNK_BYTES], 0_u64);
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.write_all(&sum.to_le_bytes()),
            read => sum += read as u64,
        }
    }
}

fn measure(address: &str) -> std::io::Result<()> {
    let round_trip = round_trip(TcpStream::connect(address)?)?;
    let rate = rate(TcpStream::connect(address)?, SENT_BYTES)?;
    println!("{{\"round_trip_ns\": {round_trip}, \"bytes_per_second\": {rate:.0}}}");
    Ok(())
}

fn round_trip(mut stream: TcpStream) -> std::io::Result<u128> {
    stream.set_nodelay(true)?;
    stream.write_all(&[ECHO])?;
    let (mut byte, began) = ([0], Instant::now());
    for _ in 0..ROUND_TRIPS {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
    }
    Ok(began.elapsed().as_nanos() / u128::from(ROUND_TRIPS))
}

fn rate(mut stream: TcpStream, bytes: usize) -> std::io::Result<f64> {
    stream.write_all(&[SINK])?;
    let (chunk, began) = (vec![7; CHUNK_BYTES], Instant::now());
    for _ in 0..bytes / CHUNK_BYTES {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut sum = [0; 8];
    stream.read_exact(&mut sum)?;
    if u64::from_le_bytes(sum) != bytes as u64 {
        return Err(Error::other("bytes were lost"));
    }
    Ok(bytes as f64 / began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let serving = std::thread::spawn(move || (0..2).try_for_each(|_| end(&mut server.accept()?.0)));
        assert!(round_trip(TcpStream::connect(address).unwrap()).unwrap() > 0);
        assert!(rate(TcpStream::connect(address).unwrap(), 4 * CHUNK_BYTES).unwrap() > 0.0);
        serving.join().unwrap().unwrap();
    }
}
