use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::spdy;

const ALL: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: true };

/// A process: it says how large its terminal is, repeats its input, complains, and ends with 3.
async fn repeat(streams: Streams) {
    let Streams { stdin, stdout, stderr, sizes, error } = streams;
    let size = sizes.unwrap().next().await.unwrap();
    let mut out = stdout.unwrap();
    out.write_all(format!("{}x{} ", size.width, size.height).as_bytes()).await.unwrap();
    tokio::io::copy(&mut stdin.unwrap(), &mut out).await.unwrap();
    let mut err = stderr.unwrap();
    err.write_all(b"bah").await.unwrap();
    out.shutdown().await.unwrap();
    err.shutdown().await.unwrap();
    Outcome::Exited(3).tell(error).await;
}

async fn text(reader: Option<Reader>) -> String {
    let mut text = String::new();
    reader.unwrap().read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_command_over_spdy() {
    let (ours, theirs) = duplex(1 << 16);
    let (connection, driver) = spdy::client(ours);
    let asking = async {
        let mut asked = open(&connection, ALL).await.unwrap();
        Size { width: 80, height: 24 }.tell(asked.sizes.as_mut().unwrap()).await.unwrap();
        let mut stdin = asked.stdin.unwrap();
        stdin.write_all(b"hello").await.unwrap();
        stdin.shutdown().await.unwrap();
        let (out, err, outcome) = futures::join!(text(asked.stdout), text(asked.stderr), Outcome::hear(asked.error));
        (out, err, outcome)
    };
    let serving = serve(theirs, Form::Spdy, ALL, repeat);
    let (heard, served, ()) = futures::join!(asking, serving, driver);
    assert_eq!(heard, ("80x24 hello".into(), "bah".into(), Outcome::Exited(3)));
    assert!(served);
}

/// What a WebSocket client hears on each channel that sends these messages, and whether it was told that all is over.
async fn converse(io: DuplexStream, messages: &[&[u8]]) -> ([String; 5], bool) {
    let mut client = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
    for message in messages {
        client.send(Message::binary(message.to_vec())).await.unwrap();
    }
    let mut heard: [String; 5] = Default::default();
    while let Some(message) = client.next().await {
        match message.unwrap() {
            Message::Binary(bytes) => heard[usize::from(bytes[0])].push_str(std::str::from_utf8(&bytes[1..]).unwrap()),
            Message::Close(frame) => return (heard, u16::from(frame.unwrap().code) == 1000),
            _ => {}
        }
    }
    (heard, false)
}

#[tokio::test]
async fn a_command_over_a_websocket() {
    let (ours, theirs) = duplex(1 << 16);
    let sent: [&[u8]; 5] = [b"\x04{\"Width\":80,", b"\x04\"Height\":24}\n", b"\x00hel", b"\x00lo", b"\xff\x00"];
    let (heard, served) = futures::join!(converse(ours, &sent), serve(theirs, Form::WebSocket, ALL, repeat));
    let ([_, out, err, status, _], is_over) = heard;
    assert_eq!((out.as_str(), err.as_str()), ("80x24 hello", "bah"));
    assert!(status.contains("\"reason\":\"NonZeroExitCode\"") && status.contains("\"message\":\"3\""), "{status}");
    assert!(served && is_over);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work() {
    for form in [Form::Spdy, Form::WebSocket] {
        let (ours, theirs) = duplex(1 << 16);
        drop(ours);
        assert!(!serve(theirs, form, ALL, |_| std::future::pending()).await, "{form:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_opens_too_little_is_left() {
    let (ours, theirs) = duplex(1 << 16);
    let (connection, driver) = spdy::client(ours);
    let too_few = Wanted { stdin: false, ..ALL };
    let (asked, served, ()) =
        futures::join!(open(&connection, too_few), serve(theirs, Form::Spdy, ALL, |_| std::future::pending()), driver);
    assert!(asked.is_ok() && !served);
}

#[tokio::test]
async fn how_it_went_comes_back() {
    for outcome in [Outcome::Exited(0), Outcome::Exited(137), Outcome::Failed("no such program".into())] {
        let (ours, theirs) = duplex(1 << 16);
        let (connection, driver) = spdy::client(ours);
        let none = Wanted::default();
        let asking = async { Outcome::hear(open(&connection, none).await.unwrap().error).await };
        let serving = serve(theirs, Form::Spdy, none, async |streams: Streams| outcome.tell(streams.error).await);
        let (heard, _, ()) = futures::join!(asking, serving, driver);
        assert_eq!(heard, outcome);
    }
}
