use std::net::Ipv4Addr;
use std::task::Waker;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn ends() -> (Stream, Stream) {
    pair((Ipv4Addr::LOCALHOST, 1).into(), (Ipv4Addr::LOCALHOST, 2).into())
}

fn data(text: &'static str) -> TryRead {
    TryRead::Data(Bytes::from_static(text.as_bytes()))
}

#[test]
fn half_close_leaves_the_other_direction_open() {
    let (mut a, mut b) = ends();
    a.writer.try_write("hello".into()).unwrap();
    a.writer.shutdown();
    assert_eq!(a.writer.try_write("more".into()), Err(WriteError::Closed));
    assert_eq!(b.reader.try_read(3), data("hel"));
    assert_eq!(b.reader.try_read(9), data("lo"));
    assert_eq!(b.reader.try_read(9), TryRead::End);
    b.writer.try_write("answer".into()).unwrap();
    assert_eq!(a.reader.try_read(9), data("answer"));
    assert_eq!(a.reader.try_read(9), TryRead::Empty);
}

#[test]
fn reset_is_seen_after_the_data() {
    let (mut a, mut b) = ends();
    a.writer.try_write("last words".into()).unwrap();
    a.writer.reset();
    assert_eq!(b.reader.try_read(99), data("last words"));
    assert_eq!(b.reader.try_read(99), TryRead::Reset);
}

#[test]
fn dropping_ends_the_stream_and_resets_it_with_data_unread() {
    let (a, mut b) = ends();
    drop(a);
    assert_eq!(b.reader.try_read(1), TryRead::End);
    assert_eq!(b.writer.try_write("x".into()), Err(WriteError::Closed));

    let (a, mut b) = ends();
    b.writer.try_write("unread".into()).unwrap();
    drop(a);
    assert_eq!(b.reader.try_read(1), TryRead::Reset);

    let (mut a, mut b) = ends();
    b.writer.try_write("half read".into()).unwrap();
    assert_eq!(a.reader.try_read(4), data("half"));
    drop(a);
    assert_eq!(b.reader.try_read(1), TryRead::Reset);
}

#[test]
fn abort_breaks_both_directions() {
    let (mut a, mut b) = ends();
    a.writer.try_write("lost".into()).unwrap();
    a.abort();
    assert_eq!((a.reader.try_read(1), b.reader.try_read(1)), (TryRead::Reset, TryRead::Reset));
    assert_eq!(b.writer.try_write("x".into()), Err(WriteError::Closed));
}

#[test]
fn a_full_buffer_holds_the_writer_and_small_chunks_count_too() {
    let (mut a, mut b) = ends();
    a.writer.try_write(vec![0; STREAM_BUFFER_BYTES_MAX + 1].into()).unwrap();
    assert_eq!(a.writer.capacity(), 0);
    assert_eq!(a.writer.try_write("x".into()), Err(WriteError::Full));
    let mut context = Context::from_waker(Waker::noop());
    assert!(a.writer.poll_writable(&mut context).is_pending());
    assert!(matches!(b.reader.try_read(usize::MAX), TryRead::Data(_)));
    assert!(a.writer.poll_writable(&mut context).is_ready());
    let single_bytes = std::iter::from_fn(|| a.writer.try_write("x".into()).ok()).count();
    assert_eq!(single_bytes, STREAM_BUFFER_BYTES_MAX / crate::pipe::CHUNK_CHARGE_BYTES_MIN);
}

#[tokio::test]
async fn copies_more_than_the_buffer_between_tasks() {
    let (mut a, mut b) = ends();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut received = Vec::new();
    let write = async {
        a.write_all(&sent).await.unwrap();
        a.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(write, b.read_to_end(&mut received));
    assert_eq!(read.unwrap(), sent.len());
    assert_eq!(received, sent);
    drop(b);
    assert_eq!(a.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Read(usize),
    Shutdown,
    DropReader,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1_usize..100_000).prop_map(Step::Write),
        8 => (1_usize..100_000).prop_map(Step::Read),
        1 => Just(Step::Shutdown),
        1 => Just(Step::DropReader),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    /// Against a model that is a queue of bytes: order kept, nothing lost or invented, ends where the writer ended.
    #[test]
    fn pipe_behaves_as_its_model(steps in steps()) {
        let (mut a, b) = ends();
        let mut reader = Some(b.reader);
        let (mut written, mut read, mut finished) = (0_u64, 0_u64, false);
        for step in steps {
            match step {
                Step::Write(length) => {
                    let length = length.min(a.writer.capacity());
                    let chunk: Bytes = (0..length as u64).map(|i| ((written + i) % 251) as u8).collect();
                    let outcome = a.writer.try_write(chunk);
                    let closed = finished || reader.is_none();
                    prop_assert_eq!(outcome, if closed { Err(WriteError::Closed) } else { Ok(()) });
                    written += length as u64;
                }
                Step::Read(max) => match reader.as_mut().map(|reader| reader.try_read(max)) {
                    Some(TryRead::Data(bytes)) => {
                        prop_assert!(!bytes.is_empty() && bytes.len() <= max);
                        for byte in bytes {
                            prop_assert_eq!(u64::from(byte), read % 251);
                            read += 1;
                        }
                    }
                    Some(other) => {
                        prop_assert_eq!(written, read);
                        prop_assert_eq!(other, if finished { TryRead::End } else { TryRead::Empty });
                    }
                    None => {}
                },
                Step::Shutdown => { a.writer.shutdown(); finished = true; }
                Step::DropReader => reader = None,
            }
        }
    }
}
