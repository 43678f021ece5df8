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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_upgrades_are_agreed_to() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let (accepted, _) = server.accept().unwrap();
        let echoing = std::thread::spawn(move || echo(&accepted));
        client.write_all(b"ahoy\nGET / HTTP/1.1\r\nhost: x\r\nUpgrade: chat\r\n\r\nhello\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let lines: Vec<String> = BufReader::new(client).lines().collect::<Result<_, _>>().unwrap();
        assert!(lines[0].starts_with("ahoy ("), "{lines:?}");
        assert_eq!(lines[1..5], ["HTTP/1.1 101 Switching Protocols", "connection: upgrade", "upgrade: chat", ""]);
        assert!(lines[5].starts_with("hello ("), "{lines:?}");
        echoing.join().unwrap().unwrap();
    }
}
