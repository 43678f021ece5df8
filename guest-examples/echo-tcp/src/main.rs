//! A TCP server over `std::net`: answers each line with itself and its pod's name. One connection after the other.
//! A request for an HTTP upgrade (WebSocket or any other) is agreed to; what follows it is answered likewise.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ";

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
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        let upgrade = if line.ends_with(" HTTP/1.1") { upgrade(&mut lines)? } else { None };
        match upgrade {
            Some(protocol) => write!(stream, "{SWITCH}{protocol}\r\n\r\n")?,
            None => writeln!(stream, "{line} ({name})")?,
        }
    }
    Ok(())
}

/// Reads a request's head to its end: the protocol that it asks for.
fn upgrade(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> std::io::Result<Option<String>> {
    let mut protocol = None;
    for line in lines {
        let line = line?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("upgrade") => protocol = Some(value.trim().to_owned()),
            Some(_) => {}
            None => break,
        }
    }
    Ok(protocol)
}
