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
        let (length, peer) = socket.recv_from(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        println!("{length} bytes from {peer}");
        // A client that is gone, or an answer that is too long, is no reason to end.
        if let Err(error) = socket.send_to(format!("{text} ({name})").as_bytes(), peer) {
            println!("{peer}: {error}");
        }
    }
}
