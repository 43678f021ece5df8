use futures::StreamExt;
use jiff::Timestamp;

use super::*;

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_000).unwrap()
    }
}

fn pod() -> PodRef {
    PodRef { namespace: "default".into(), name: "web".into(), uid: "u1".into() }
}

async fn text(logs: &Logs, options: ReadOptions) -> String {
    let chunks: Vec<_> = read(logs, &pod(), "app", 0, &options).collect().await;
    chunks.into_iter().map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn reads_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::start(folder.path().join("logs"), Arc::new(FixedClock)).unwrap();
    let log = logs.open(&pod(), "app", 0);
    log.write(StdStream::Out, b"one\ntw");
    log.write(StdStream::Err, b"error\n");
    log.write(StdStream::Out, b"o\nthree");
    log.end();
    let all = ReadOptions::default();
    let cases = [
        (all.clone(), "one\nerror\ntwo\nthree"),
        (ReadOptions { tail_lines: Some(2), ..all.clone() }, "two\nthree"),
        (ReadOptions { tail_lines: Some(0), ..all.clone() }, ""),
        (ReadOptions { stream: Some(StdStream::Err), ..all.clone() }, "error\n"),
        (ReadOptions { stream: Some(StdStream::Out), ..all.clone() }, "one\ntwo\nthree"),
        (ReadOptions { tail_lines: Some(99), ..all.clone() }, "one\nerror\ntwo\nthree"),
        (ReadOptions { limit_bytes: Some(5), ..all.clone() }, "one\ne"),
        (ReadOptions { since: Some(Since::Seconds(-1)), ..all.clone() }, ""),
        (ReadOptions { since: Some(Since::Seconds(1)), tail_lines: Some(1), ..all.clone() }, "three"),
        (ReadOptions { timestamps: true, tail_lines: Some(1), ..all.clone() }, "1970-01-01T00:16:40.000000000Z three"),
        (ReadOptions { follow: true, ..all.clone() }, "one\nerror\ntwo\nthree"),
    ];
    for (options, expected) in cases {
        assert_eq!(text(&logs, options.clone()).await, expected, "{options:?}");
    }
    logs.remove(&pod());
    assert_eq!(text(&logs, all).await, "");
}

#[tokio::test]
async fn follows_until_the_end_and_over_rotations() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::start(folder.path().join("logs"), Arc::new(FixedClock)).unwrap();
    let log = logs.open(&pod(), "app", 0);
    log.write(StdStream::Out, b"first\n");
    let options = ReadOptions { follow: true, ..ReadOptions::default() };
    let mut stream = read(&logs, &pod(), "app", 0, &options);
    assert_eq!(stream.next().await.unwrap().unwrap(), "first\n");
    let long = vec![b'x'; usize::try_from(LOG_FILE_BYTES_MAX).unwrap()];
    log.write(StdStream::Out, &long);
    log.write(StdStream::Out, b"\nlast\n");
    log.end();
    let rest: Vec<_> = stream.collect().await;
    let bytes: Vec<u8> = rest.into_iter().flat_map(|chunk| chunk.unwrap().to_vec()).collect();
    assert_eq!(bytes.len(), long.len() + 6);
    assert!(bytes.ends_with(b"\nlast\n"));
    assert!(numbered(&log.path, 1).exists());
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_rotated_once() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::start(folder.path().join("logs"), Arc::new(FixedClock)).unwrap();
    let log = logs.open(&pod(), "app", 0);
    let (file, bytes) = log.file().unwrap();
    assert_eq!(bytes, 0);
    assert!(log.grown(LOG_FILE_BYTES_MAX).unwrap().is_none());
    file.set_len(LOG_FILE_BYTES_MAX + 1).unwrap();
    assert!(log.grown(LOG_FILE_BYTES_MAX + 1).unwrap().is_some());
    // It had not got the next one yet.
    assert!(log.grown(LOG_FILE_BYTES_MAX + 2).unwrap().is_none());
    assert!(numbered(&log.path, 1).exists() && !numbered(&log.path, 2).exists());
}

#[tokio::test]
async fn a_pod_that_goes_takes_its_own_logs_only() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::start(folder.path().join("logs"), Arc::new(FixedClock)).unwrap();
    let names = ["u", "u1", "u10", "u2"];
    let pods = names.map(|uid| PodRef { uid: uid.into(), ..pod() });
    let _held: Vec<_> = pods.iter().flat_map(|pod| ["app", "side"].map(|name| logs.open(pod, name, 0))).collect();
    logs.remove(&pods[1]);
    let is_live = |pod| ["app", "side"].map(|name| logs.live(&logs.path(pod, name, 0)).is_some());
    assert_eq!(pods.each_ref().map(is_live), [[true; 2], [false; 2], [true; 2], [true; 2]]);
}
