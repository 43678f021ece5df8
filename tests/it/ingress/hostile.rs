//! Clients that never end, say nothing, or talk nonsense.

use std::io::{Read, Write};

use wherry_tests::{Connection, connect};

use super::World;
use crate::objects::ingress;

/// More than any limit of the ingress on what it reads ahead.
const ENDLESS_BYTES: usize = 64 << 20;
const PIECE_BYTES: usize = 16 << 10;

/// Sends `head`, then `piece` again and again until the connection is cut: the status of the answer, or `None` where
/// there was none. Panics where all was taken.
fn pour(port: u16, head: &str, piece: &[u8]) -> Option<u16> {
    let mut stream = connect(port).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let reader = stream.try_clone().unwrap();
    let answered = std::thread::spawn(move || {
        let mut reader = Connection::over(reader);
        let head = reader.head().ok()?;
        // A cut that comes before the answer is read may take the answer along.
        head.first()?.split(' ').nth(1)?.parse().ok()
    });
    let mut poured = 0;
    while poured < ENDLESS_BYTES && stream.write_all(piece).is_ok() {
        poured += piece.len();
    }
    assert!(poured < ENDLESS_BYTES, "{head:?}: all was taken");
    answered.join().unwrap()
}

pub fn endless(world: &World) {
    world.apply("endless.example", &ingress("endless", "endless.example / Prefix c", ""));
    let port = world.ports.http;
    let check = |head: &str, piece: &[u8], expected: &[u16]| {
        let status = pour(port, head, piece);
        assert!(status.is_none_or(|status| expected.contains(&status)), "{head:?}: {status:?}");
    };
    let letters = vec![b'a'; PIECE_BYTES];
    check("GET /", &letters, &[431]);
    check("GET / HTTP/1.1\r\nhost: endless.example\r\nx-long: ", &letters, &[431]);
    let lines = "x: y\r\n".repeat(PIECE_BYTES / 6);
    check("GET / HTTP/1.1\r\nhost: endless.example\r\n", lines.as_bytes(), &[431]);
    // The module answers without reading: the client has its answer while it still sends.
    let chunk = format!("{PIECE_BYTES:x}\r\n{}\r\n", "a".repeat(PIECE_BYTES));
    let chunked = "POST / HTTP/1.1\r\nhost: endless.example\r\ntransfer-encoding: chunked\r\n\r\n";
    check(chunked, chunk.as_bytes(), &[200]);
    let sized = "POST / HTTP/1.1\r\nhost: endless.example\r\ncontent-length: 999999999999\r\n\r\n";
    check(sized, &letters, &[200]);
    assert_eq!(world.get("endless.example", "/").status, 200);
}

/// These wait for the ingress' patience, all at once.
pub fn silent(world: &World) {
    let quiet = |port: u16, sent: &'static str| {
        std::thread::spawn(move || {
            let mut stream = connect(port).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            // A read that fails is the harness' time-out: the connection was left open.
            let ended = stream.read_to_end(&mut Vec::new());
            assert!(ended.is_ok_and(|_| true), "{sent:?} on port {port} is still open");
        })
    };
    let all = [
        quiet(world.ports.http, ""),
        quiet(world.ports.http, "GET / HTTP/1.1\r\nhost: ex"),
        quiet(world.ports.https, ""),
        quiet(world.ports.https, "\u{16}\u{3}\u{1}"),
    ];
    for thread in all {
        thread.join().unwrap();
    }
}

pub fn nonsense(world: &World) {
    let check = |sent: &str, expected: &str| {
        let mut connection = Connection::open(world.ports.http).unwrap();
        connection.send(sent).unwrap();
        let answer = connection.line().unwrap();
        assert!(answer.starts_with(expected), "{sent:?}: {answer:?}");
    };
    check("\u{16}\u{3}\u{1}\u{2}\r\n\r\n", "HTTP/1.1 400");
    check("GET\r\n\r\n", "HTTP/1.1 400");
    check("GET / HTTP/9.9\r\n\r\n", "HTTP/1.1 400");
    check("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n", "HTTP/1.1 400");
    check("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "HTTP/1.1 400");
    check("CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n", "HTTP/1.1 405");
    check("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404");
    check("GET http://nowhere.example/x HTTP/1.1\r\nhost: other\r\n\r\n", "HTTP/1.1 404");
}
