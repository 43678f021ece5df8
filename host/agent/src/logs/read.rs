//! Reading a container's output back: from the end, from a time on, as it comes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use wherry_runtime::{PodRef, StdStream};

use super::format::Record;
use super::{ContainerLog, Logs, locked};

/// How much is read at once.
const BLOCK_BYTES: usize = 64 << 10;
/// How much of a log's end is looked at to find where it goes on.
const RECORDS_COUNTED_MAX: u64 = 1000;
const COUNTED_BYTES_MAX: u64 = 1 << 20;

/// What of a log is wanted: the options of `kubectl logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only what was printed to this stream.
    pub stream: Option<StdStream>,
    /// Only from this time on.
    pub since: Option<Since>,
    /// Whether each line begins with its time.
    pub timestamps: bool,
    /// Whether to wait for more until the container ends.
    pub follow: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
}

/// A moment, told in one of two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// So many seconds ago.
    Seconds(i64),
    /// Then.
    Time(Timestamp),
}

struct Reader {
    path: PathBuf,
    file: Option<File>,
    /// A record whose end was not read yet.
    carry: Vec<u8>,
    live: Option<Arc<ContainerLog>>,
    rotations: u64,
    /// How long the file was when somebody asked: where "from now on" begins.
    asked_at: Option<u64>,
    stream: Option<StdStream>,
    since: Option<Timestamp>,
    timestamps: bool,
    /// Whether the next record begins a line.
    at_line_start: bool,
    left_bytes: u64,
}

/// Streams what run `run` of a container printed. A container that printed nothing has an empty log.
pub fn read(
    logs: &Logs,
    pod: &PodRef,
    container: &str,
    run: u32,
    options: &ReadOptions,
) -> BoxStream<'static, io::Result<Bytes>> {
    let path = logs.path(pod, container, run);
    let live = logs.live(&path).filter(|_| options.follow);
    let since = options.since.map(|since| match since {
        Since::Time(at) => at,
        Since::Seconds(seconds) => {
            let ago = jiff::SignedDuration::from_secs(seconds);
            logs.clock.now().checked_sub(ago).unwrap_or(Timestamp::MIN)
        }
    });
    let asked_at = logs.live(&path).map(|log| {
        log.flush();
        *locked(&log.file)
    });
    let reader = Reader {
        rotations: live.as_ref().map_or(0, |log| log.rotations.load(Ordering::Acquire)),
        path,
        file: None,
        carry: Vec::new(),
        live,
        asked_at,
        stream: options.stream,
        since,
        timestamps: options.timestamps,
        at_line_start: true,
        left_bytes: options.limit_bytes.unwrap_or(u64::MAX),
    };
    let tail = options.tail_lines;
    let opened = futures::stream::once(async move { blocking(reader, move |reader| reader.open(tail)).await });
    opened.flat_map(|opened| futures::stream::unfold(Some(opened.map(|(reader, ())| reader)), next).boxed()).boxed()
}

type Next = Option<(io::Result<Bytes>, Option<io::Result<Reader>>)>;

async fn next(state: Option<io::Result<Reader>>) -> Next {
    let mut reader = match state? {
        Ok(reader) => reader,
        Err(error) => return Some((Err(error), None)),
    };
    loop {
        let live = reader.live.clone();
        let changed = live.as_ref().map(|log| log.changed.notified());
        let mut changed = std::pin::pin!(futures::future::OptionFuture::from(changed));
        // Polled once before all else, so that what is written after the read is not missed.
        let _waiting = futures::poll!(changed.as_mut());
        let ended = live.as_ref().is_none_or(|log| log.ended.load(Ordering::Acquire));
        let (back, chunk) = match blocking(reader, Reader::advance).await {
            Ok(read) => read,
            Err(error) => return Some((Err(error), None)),
        };
        reader = back;
        match chunk {
            Some(chunk) if chunk.is_empty() => {}
            Some(chunk) => return Some((Ok(chunk), Some(Ok(reader)))),
            None if ended || reader.left_bytes == 0 => return None,
            None => {
                changed.await;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    mut reader: Reader,
    work: impl FnOnce(&mut Reader) -> io::Result<T> + Send + 'static,
) -> io::Result<(Reader, T)> {
    let done = tokio::task::spawn_blocking(move || work(&mut reader).map(|out| (reader, out)));
    done.await.map_err(io::Error::other)?
}

impl Reader {
    fn open(&mut self, tail: Option<u64>) -> io::Result<()> {
        self.file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        if let (Some(file), Some(lines)) = (&mut self.file, tail) {
            let from = match self.asked_at {
                Some(end) if lines == 0 => end,
                _ => tail_offset(file, lines)?,
            };
            file.seek(SeekFrom::Start(from))?;
        }
        Ok(())
    }

    /// The next piece: `None` at the present end, an empty one where nothing of a piece was wanted.
    fn advance(&mut self) -> io::Result<Option<Bytes>> {
        if self.left_bytes == 0 {
            return Ok(None);
        }
        if self.file.is_none() {
            self.open(None)?;
        }
        let Some(file) = &mut self.file else { return Ok(None) };
        let mut block = vec![0; BLOCK_BYTES];
        let count = file.read(&mut block)?;
        if count == 0 {
            return self.next_file();
        }
        self.carry.extend(block.get(..count).unwrap_or_default());
        Ok(Some(self.take_records()))
    }

    /// At a file's end: on with the file that took its place, if it was rotated.
    fn next_file(&mut self) -> io::Result<Option<Bytes>> {
        let rotations = self.live.as_ref().map_or(0, |log| log.rotations.load(Ordering::Acquire));
        if rotations == self.rotations {
            return Ok(None);
        }
        self.rotations = rotations;
        self.open(None)?;
        Ok(Some(Bytes::new()))
    }

    fn take_records(&mut self) -> Bytes {
        let carry = std::mem::take(&mut self.carry);
        let mut out = Vec::with_capacity(carry.len());
        let mut rest = carry.as_slice();
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, more) = rest.split_at(end);
            if let Some(record) = Record::parse(line).filter(|record| self.wants(record)) {
                self.print(&record, &mut out);
            }
            rest = more.get(1..).unwrap_or_default();
        }
        self.carry = rest.to_vec();
        out.truncate(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
        self.left_bytes -= out.len() as u64;
        out.into()
    }

    fn wants(&mut self, record: &Record<'_>) -> bool {
        if self.stream.is_some_and(|stream| !record.is_of(stream)) {
            return false;
        }
        let Some(since) = self.since else { return true };
        let late_enough = record.at().is_none_or(|at| at >= since);
        if late_enough {
            self.since = None;
        }
        late_enough
    }

    fn print(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        if self.timestamps && self.at_line_start {
            out.extend_from_slice(record.time);
            out.push(b' ');
        }
        out.extend_from_slice(record.text);
        if record.full {
            out.push(b'\n');
        }
        self.at_line_start = record.full;
    }
}

/// When the last record of a file was printed, and how many of its last ones are of that time (engines may tell whole seconds
/// only); `None` where there is none.
pub fn last(path: &Path) -> Option<(Timestamp, usize)> {
    let mut file = File::open(path).ok()?;
    let from = tail_offset(&mut file, RECORDS_COUNTED_MAX).ok()?;
    let from = from.max(file.metadata().ok()?.len().saturating_sub(COUNTED_BYTES_MAX));
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut tail = Vec::new();
    file.take(COUNTED_BYTES_MAX).read_to_end(&mut tail).ok()?;
    let times: Vec<_> = tail.split(|&byte| byte == b'\n').filter_map(|line| Record::parse(line)?.at()).collect();
    let last = *times.last()?;
    Some((last, times.iter().rev().take_while(|time| **time == last).count()))
}

/// Where the last `lines` lines begin, found from the end.
fn tail_offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    // The very last byte ends the last line and counts for none.
    let mut wanted = lines.saturating_add(1);
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES as u64);
        let mut block = vec![0; usize::try_from(end - start).unwrap_or(BLOCK_BYTES)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            wanted -= 1;
            if wanted == 0 {
                return Ok(start + index as u64 + 1);
            }
        }
        end = start;
    }
    Ok(0)
}
