//! A TCP server over `std::net`: answers each line with itself and its pod's name. One connection after the other.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "7000".into());
    let listener = TcpListener::bind(format!("0.0.0.0:{port}"))?;
    println!("listening on {port}");
    // The end of the listener is this program's SIGTERM.
    while let Ok((stream, peer)) = listener.accept() {
        println!("connection from {peer}");
        if let Err(error) = echo(&stream) {
            println!("{peer}: {error}");
        }
    }
    println!("asked to stop");
    Ok(())
}

fn echo(mut stream: &TcpStream) -> std::io::Result<()> {
    let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_default();
    for line in BufReader::new(stream).lines() {
        writeln!(stream, "{} ({name})", line?)?;
    }
    Ok(())
}
