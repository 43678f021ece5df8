use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// Both ends of a connection, and a task that carries it until the runtime ends.
fn both() -> (Connection, Incoming) {
    let (ours, theirs) = duplex(1 << 16);
    let (client, driver) = client(ours);
    let (server, incoming, other) = server(theirs);
    carry(async move {
        futures::join!(driver, other);
        drop(server);
    });
    (client, incoming)
}

#[expect(clippy::disallowed_methods, reason = "the test's runtime is the owner, and ends it")]
fn carry(driver: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(driver);
}

async fn all(stream: &mut Stream) -> Vec<u8> {
    let mut out = Vec::new();
    stream.reader.read_to_end(&mut out).await.unwrap();
    out
}

#[tokio::test]
async fn streams_go_both_ways_and_end_by_halves() {
    let (client, mut incoming) = both();
    let mut here = client.open(Headers::from([("streamType", "data")]), false).await.unwrap();
    let mut there = incoming.recv().await.unwrap();
    assert_eq!(there.headers.get("streamtype"), "data");
    here.writer.write_all(b"question").await.unwrap();
    here.writer.shutdown().await.unwrap();
    assert_eq!(all(&mut there).await, b"question");
    there.writer.write_all(b"answer").await.unwrap();
    there.writer.shutdown().await.unwrap();
    assert_eq!(all(&mut here).await, b"answer");
    assert!(!here.broken.is_cancelled());
}

#[tokio::test]
async fn a_large_transfer_waits_for_its_reader() {
    let (client, mut incoming) = both();
    let mut here = client.open(Headers::default(), false).await.unwrap();
    let mut there = incoming.recv().await.unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let writing = async {
        here.writer.write_all(&sent).await.unwrap();
        here.writer.shutdown().await.unwrap();
    };
    tokio::pin!(writing);
    let waits = tokio::time::timeout(Duration::from_millis(50), writing.as_mut()).await;
    assert!(waits.is_err(), "nobody reads, and yet 3 MB are taken");
    let ((), read) = futures::join!(writing, all(&mut there));
    assert!(read == sent, "{} bytes", read.len());
}

#[tokio::test]
async fn a_stream_that_is_broken_off_tells_the_other_end() {
    let (client, mut incoming) = both();
    let here = client.open(Headers::default(), false).await.unwrap();
    let mut there = incoming.recv().await.unwrap();
    here.reset().await;
    there.broken.cancelled().await;
    assert_eq!(all(&mut there).await, b"");
}

#[tokio::test]
async fn a_stream_too_many_is_refused_and_a_dropped_one_makes_room() {
    let (client, mut incoming) = both();
    let mut held = Vec::new();
    for _ in 0..STREAMS_MAX {
        let stream = client.open(Headers::default(), false).await.unwrap();
        held.push((stream, incoming.recv().await.unwrap()));
    }
    let refused = client.open(Headers::default(), false).await.unwrap();
    refused.broken.cancelled().await;
    drop(held.pop());
    let taken = client.open(Headers::default(), false).await.unwrap();
    incoming.recv().await.unwrap();
    assert!(!taken.broken.is_cancelled());
}

#[tokio::test]
async fn goodbye_comes_after_what_was_said() {
    let (mut raw, theirs) = duplex(1 << 16);
    let (server, mut incoming, driver) = server(theirs);
    // A SYN_STREAM of no headers: an empty block, stored.
    raw.write_all(&syn_stream(1)).await.unwrap();
    let work = async {
        let mut stream = incoming.recv().await.unwrap();
        stream.writer.write_all(b"last words").await.unwrap();
        stream.writer.shutdown().await.unwrap();
        server.close().await;
    };
    // When this end has read everything it leaves, and so ends the other.
    let reading = async move {
        let mut read = Vec::new();
        raw.read_to_end(&mut read).await.unwrap();
        read
    };
    let ((), (), read) = futures::join!(driver, work, reading);
    let end = [b"\0\0\0\x01\x01\0\0\0".as_slice(), b"\x80\x03\0\x07\0\0\0\x08\0\0\0\0\0\0\0\0"].concat();
    assert!(read.ends_with(&end), "{read:?}");
    assert!(read.windows(10).any(|window| window == b"last words"));
}

#[tokio::test]
async fn pings_are_answered() {
    let (mut raw, theirs) = duplex(1 << 16);
    let (_server, _incoming, driver) = server(theirs);
    let ping = b"\x80\x03\0\x06\0\0\0\x04\0\0\0\x07";
    let pinged = async {
        raw.write_all(ping).await.unwrap();
        let mut back = [0; 12];
        raw.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, ping);
    };
    tokio::select! {
        () = pinged => {}
        () = driver => panic!("the connection ended"),
    }
}

/// A SYN_STREAM without headers, as bytes; the first of its connection.
fn syn_stream(id: u32) -> Vec<u8> {
    let mut deflater = super::headers::Deflater::new().unwrap();
    let mut out = Vec::new();
    let frame = super::frame::Frame::Open { id, fin: false, headers: Headers::default() };
    super::frame::write(&frame, &mut deflater, &mut out).unwrap();
    out
}

/// What a server does to a client that sends these bytes: it ends, and does not panic.
async fn suffer(mut raw: DuplexStream, theirs: DuplexStream, bytes: &[u8]) {
    let (_server, mut incoming, driver) = server(theirs);
    let sending = async {
        let _refused = raw.write_all(bytes).await;
        let _refused = raw.shutdown().await;
        let _read = tokio::io::copy(&mut raw, &mut tokio::io::sink()).await;
    };
    let taking = async { while incoming.recv().await.is_some() {} };
    futures::join!(driver, sending, taking);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn hostile_clients_are_survived(
        frames in prop::collection::vec((any::<bool>(), 0_u16..10, any::<u8>(), 0_u32..6, prop::collection::vec(any::<u8>(), 0..64)), 0..12)
    ) {
        let mut bytes = Vec::new();
        for (is_control, kind, flags, id, payload) in frames {
            if is_control && kind == 1 && payload.len() % 2 == 0 {
                bytes.extend(syn_stream(id));
                continue;
            }
            let word = if is_control { 0x8003_0000 | u32::from(kind) } else { id };
            bytes.extend(word.to_be_bytes());
            bytes.extend((u32::from(flags) << 24 | payload.len() as u32).to_be_bytes());
            bytes.extend(payload);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (raw, theirs) = duplex(1 << 12);
        runtime.block_on(suffer(raw, theirs, &bytes));
    }
}
