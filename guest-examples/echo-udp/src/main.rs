//! A UDP server over `std::net`: answers each datagram with itself and its pod's name.

use std::net::UdpSocket;

const DATAGRAM_BYTES_MAX: usize = 65_507;

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "7000".into());
    let socket = UdpSocket::bind(format!("0.0.0.0:{port}"))?;
    let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_default();
    println!("listening on {port}");
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        answer(&socket, &name, &mut buffer)?;
    }
}

/// Answers the next datagram.
fn answer(socket: &UdpSocket, name: &str, buffer: &mut [u8]) -> std::io::Result<()> {
    let (length, peer) = socket.recv_from(buffer)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    println!("{length} bytes from {peer}");
    // A client that is gone, or an answer that is too long, is no reason to end.
    if let Err(error) = socket.send_to(format!("{text} ({name})").as_bytes(), peer) {
        println!("{peer}: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_back_to_its_sender() {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (server, client) = (bind(), bind());
        client.send_to(b"ahoy", server.local_addr().unwrap()).unwrap();
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        answer(&server, "buoy", &mut buffer).unwrap();
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&b"ahoy (buoy)"[..], server.local_addr().unwrap()));
    }
}
