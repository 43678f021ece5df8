//! The node's end of a channel against a sandbox that says what it likes.

#![allow(clippy::disallowed_methods, reason = "the tasks of a test end with it")]

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body_util::StreamBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_base::Trigger;

use super::*;
use crate::channel::{Frame, PIECE_BYTES_MAX, Piece, WINDOW_BYTES};

/// No test waits longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// The node's end, and what a sandbox has of the other.
struct World {
    channel: Arc<Channel>,
    sandbox: Stream,
    ended: tokio::task::JoinHandle<String>,
    _tasks: Trigger,
}

impl World {
    fn new() -> Self {
        let tasks = Trigger::new();
        let channel = Channel::new(tasks.drain());
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let (ours, sandbox) = wherry_vnet::pair(nowhere, nowhere);
        let own = Arc::clone(&channel);
        let ended =
            tokio::task::spawn(async move { own.run(ours, |number, what| hear(&own, number, what)).await.to_string() });
        Self { channel, sandbox, ended, _tasks: tasks }
    }

    /// A request on its way.
    fn ask(&self, body: Body) -> tokio::task::JoinHandle<Result<Response<Body>, Unanswered>> {
        let channel = Arc::clone(&self.channel);
        let request = Request::post("/").body(body).unwrap();
        tokio::task::spawn(async move { ask(&channel, "10.128.0.7:80".parse().unwrap(), request).await })
    }

    async fn say(&mut self, frames: &[(u64, What<'_>)]) {
        let mut buffer = BytesMut::new();
        for (exchange, what) in frames {
            let what = copy(what);
            Frame { exchange: *exchange, what }.encode(&mut buffer).unwrap();
        }
        self.sandbox.writer.write_all(&buffer).await.unwrap();
    }

    /// Reads on until a frame is as wanted.
    async fn heard(&mut self, is_wanted: impl Fn(u64, &What<'_>) -> bool) {
        let mut buffer = BytesMut::new();
        let heard = async {
            loop {
                while let Some((frame, length)) = Frame::decode(&buffer).unwrap() {
                    if is_wanted(frame.exchange, &frame.what) {
                        return;
                    }
                    drop(buffer.split_to(length));
                }
                assert_ne!(self.sandbox.reader.read_buf(&mut buffer).await.unwrap(), 0);
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap();
    }

    async fn ended(self) -> String {
        tokio::time::timeout(PATIENCE, self.ended).await.unwrap().unwrap()
    }
}

fn copy<'a>(what: &What<'a>) -> What<'a> {
    match what {
        What::Request { to, head, piece } => What::Request { to: *to, head: head.clone(), piece: *piece },
        What::Response { head, piece } => What::Response { head: head.clone(), piece: *piece },
        What::Trailers(trailers) => What::Trailers(trailers.clone()),
        What::Data(piece) => What::Data(*piece),
        What::Credit(bytes) => What::Credit(*bytes),
        What::Refused => What::Refused,
        What::Cut => What::Cut,
        What::Enough => What::Enough,
    }
}

fn answer(bytes: &[u8], is_last: bool) -> What<'_> {
    What::Response { head: Cow::Owned(Response::new(()).into_parts().0), piece: Piece { bytes, is_last } }
}

const fn data(bytes: &[u8], is_last: bool) -> What<'_> {
    What::Data(Piece { bytes, is_last })
}

/// A body of pieces without end, which counts those that were taken.
fn endless(taken: &Arc<AtomicUsize>) -> Body {
    let taken = Arc::clone(taken);
    let pieces = futures::stream::repeat_with(move || {
        taken.fetch_add(1, Ordering::SeqCst);
        Ok(http_body::Frame::data(Bytes::from(vec![7; PIECE_BYTES_MAX])))
    });
    StreamBody::new(pieces).boxed_unsync()
}

#[tokio::test]
async fn a_sandbox_that_lies_is_found_out() {
    let piece = vec![7; PIECE_BYTES_MAX];
    let too_much: Vec<_> = std::iter::repeat_with(|| (0, data(&piece, false))).take(5).collect();
    let request = What::Request {
        to: "10.128.0.7:80".parse().unwrap(),
        head: Cow::Owned(Request::new(()).into_parts().0),
        piece: Piece { bytes: b"", is_last: true },
    };
    let cases: Vec<(Vec<(u64, What<'_>)>, &str)> = vec![
        (vec![(1, answer(b"", true))], "never was"),
        (vec![(1, What::Cut)], "never was"),
        (vec![(u64::MAX, What::Credit(1))], "never was"),
        (vec![(0, answer(b"", false)), (0, answer(b"", false))], "twice"),
        (vec![(0, answer(b"", false)), (0, data(b"", false))], "empty piece"),
        (too_much, "more of a body than it may"),
        (vec![(0, What::Credit(u32::MAX))], "read more than was sent"),
        (vec![(0, request)], "mistaken its part"),
    ];
    for (frames, expected) in cases {
        let mut world = World::new();
        let mut asked = world.ask(endless(&Arc::default()));
        world.heard(|number, what| number == 0 && matches!(what, What::Request { .. })).await;
        // What it was sent is not read: the channel's end alone tells.
        world.say(&frames).await;
        let why = world.ended().await;
        assert!(why.contains(expected), "{why}");
        if let Ok(answer) = (&mut asked).await.unwrap() {
            assert!(answer.into_body().collect().await.is_err(), "{expected}");
        }
    }
}

#[tokio::test]
async fn what_is_no_frame_ends_the_channel() {
    for (bytes, expected) in [(&[0xff; 8][..], "longer than"), (&[3, 0, 0, 0, 0, 99, 0], "malformed")] {
        let mut world = World::new();
        world.sandbox.writer.write_all(bytes).await.unwrap();
        let why = world.ended().await;
        assert!(why.contains(expected), "{why}");
    }
}

#[tokio::test]
async fn a_sandbox_that_does_not_read_holds_a_window_of_each_body() {
    let world = World::new();
    let taken: Vec<Arc<AtomicUsize>> = (0..64).map(|_| Arc::default()).collect();
    let asked: Vec<_> = taken.iter().map(|taken| world.ask(endless(taken))).collect();
    // Until nothing happens any more: on one thread, each turn lets all that can go on do so.
    let sum = || taken.iter().map(|taken| taken.load(Ordering::SeqCst)).sum::<usize>();
    let mut before = usize::MAX;
    while before != sum() {
        before = sum();
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
    assert!(taken.iter().all(|taken| taken.load(Ordering::SeqCst) <= WINDOW_BYTES / PIECE_BYTES_MAX + 1));
    // Of all together no more than the pipe, the buffer, and a piece in each one's hands.
    assert!(before * PIECE_BYTES_MAX <= 1024 * 1024 + taken.len() * PIECE_BYTES_MAX, "{before} pieces");
    drop(asked);
}

#[tokio::test]
async fn a_sandbox_that_does_not_read_but_answers_is_found_out() {
    let world = World::new();
    // Each request that is given up is a word to the sandbox, which it does not read.
    let flood = async {
        while world.channel.open().is_some() {
            (0..1024).for_each(|_| drop(world.channel.open()));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, flood).await.unwrap();
    assert!(world.ended().await.contains("not read"));
}

#[tokio::test]
async fn what_was_left_may_still_be_on_its_way() {
    let mut world = World::new();
    let asked = world.ask(full_body("whole"));
    world.heard(|_, what| matches!(what, What::Request { .. })).await;
    asked.abort();
    world.heard(|number, what| number == 0 && matches!(what, What::Enough)).await;
    world.say(&[(0, answer(b"late", false)), (0, data(b"late", false)), (0, What::Cut), (0, What::Refused)]).await;
    let asked = world.ask(full_body("whole"));
    world.heard(|number, what| number == 1 && matches!(what, What::Request { .. })).await;
    world.say(&[(1, answer(b"in ", false)), (1, data(b"time", true))]).await;
    let body = asked.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "in time");
}

#[tokio::test]
async fn a_request_comes_back_where_it_is_whole() {
    let check = async |body: Body, word: What<'static>, expected: &str| {
        let mut world = World::new();
        let asked = world.ask(body);
        world.heard(|_, what| matches!(what, What::Request { .. })).await;
        world.say(&[(0, word)]).await;
        let found = match asked.await.unwrap() {
            Err(Unanswered::Unseen(request)) => {
                format!("unseen {:?}", request.into_body().collect().await.unwrap().to_bytes())
            }
            Err(Unanswered::Broken(_, Some(request))) => format!("broken {}", request.method()),
            Err(Unanswered::Broken(_, None)) => "broken".to_owned(),
            Ok(_) => "answered".to_owned(),
        };
        assert_eq!(found, expected);
    };
    check(full_body("ahoy"), What::Refused, r#"unseen b"ahoy""#).await;
    check(full_body(""), What::Refused, r#"unseen b"""#).await;
    check(full_body("ahoy"), What::Cut, "broken POST").await;
    check(endless(&Arc::default()), What::Refused, "broken").await;
    check(endless(&Arc::default()), What::Cut, "broken").await;
}

#[tokio::test]
async fn a_channel_that_has_ended_takes_no_request() {
    let world = World::new();
    let (channel, asked) = (Arc::clone(&world.channel), world.ask(full_body("")));
    let World { sandbox, ended, .. } = world;
    drop(sandbox);
    assert!(ended.await.unwrap().contains("ended"));
    let request = Request::get("/").body(full_body("")).unwrap();
    let late = ask(&channel, "10.128.0.7:80".parse().unwrap(), request).now_or_never();
    assert!(matches!(late, Some(Err(Unanswered::Unseen(_)))));
    assert!(asked.await.unwrap().is_err());
}
