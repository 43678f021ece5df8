//! Containers' output in files: `LOGS/NAMESPACE_POD_UID/CONTAINER/RUN.log`, in the format of the CRI, rotated.
//!
//! Owns one thread that writes for all containers. A guest's thread only appends to a buffer, unless it is so far ahead
//! that it must write its buffer itself. No file stays open, so that an idle container costs no descriptor.

mod format;
mod read;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;
use tokio::sync::Notify;
use wherry_base::Clock;
use wherry_runtime::{LOG_FILE_BYTES_MAX, LOG_FILES_MAX, LogBuffer, LogSink, PodRef, StdStream};

use read::last;
pub use read::{ReadOptions, Since, read};

/// How many containers wait for the writing thread.
const WAITING_MAX: usize = 16_384;

/// All containers' output.
pub struct Logs {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    waiting: SyncSender<Arc<ContainerLog>>,
    /// By path, so that a pod's are side by side.
    live: Mutex<BTreeMap<PathBuf, Weak<ContainerLog>>>,
}

/// Where one run of a container writes.
pub struct ContainerLog {
    run: u32,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    waiting: SyncSender<Arc<ContainerLog>>,
    this: Weak<ContainerLog>,
    pending: LogBuffer,
    /// The bytes in the present file.
    file: Mutex<u64>,
    rotations: AtomicU64,
    ended: AtomicBool,
    changed: Notify,
}

impl Logs {
    /// Starts the writing thread; it ends with the last clone.
    pub fn start(root: PathBuf, clock: Arc<dyn Clock>) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&root)?;
        let (waiting, work) = sync_channel(WAITING_MAX);
        std::thread::Builder::new().name("logs".into()).spawn(move || write_all(&work))?;
        Ok(Arc::new(Self { root, clock, waiting, live: Mutex::default() }))
    }

    /// Where run `run` of a container writes; files of runs before the last are removed.
    pub fn open(&self, pod: &PodRef, container: &str, run: u32) -> Arc<ContainerLog> {
        let path = self.path(pod, container, run);
        if let Some(outdated) = run.checked_sub(2) {
            remove_files(&self.path(pod, container, outdated));
        }
        let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
        let log = Arc::new_cyclic(|this| ContainerLog {
            run,
            path: path.clone(),
            clock: self.clock.clone(),
            waiting: self.waiting.clone(),
            this: this.clone(),
            pending: LogBuffer::default(),
            file: Mutex::new(bytes),
            rotations: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            changed: Notify::new(),
        });
        let mut live = locked(&self.live);
        if let Some(before) = run.checked_sub(1) {
            live.remove(&self.path(pod, container, before));
        }
        live.insert(path, Arc::downgrade(&log));
        drop(live);
        log
    }

    /// Removes a pod's files.
    pub fn remove(&self, pod: &PodRef) {
        let folder = self.folder(pod);
        let mut live = locked(&self.live);
        let from_here = live.range(folder.clone()..).map(|(path, _)| path);
        let own: Vec<PathBuf> = from_here.take_while(|path| path.starts_with(&folder)).cloned().collect();
        own.iter().for_each(|path| drop(live.remove(path)));
        drop(live);
        let _absent = fs::remove_dir_all(folder);
    }

    /// Removes the files of pods whose uid is not `known`.
    pub fn remove_orphans(&self, known: impl Fn(&str) -> bool) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.rsplit('_').next().is_some_and(|uid| !known(uid)) {
                let _gone = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn live(&self, path: &Path) -> Option<Arc<ContainerLog>> {
        locked(&self.live).get(path).and_then(Weak::upgrade)
    }

    fn path(&self, pod: &PodRef, container: &str, run: u32) -> PathBuf {
        self.folder(pod).join(container).join(format!("{run}.log"))
    }

    /// Where a pod's files are.
    pub fn folder(&self, pod: &PodRef) -> PathBuf {
        self.root.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }
}

fn write_all(work: &Receiver<Arc<ContainerLog>>) {
    while let Ok(log) = work.recv() {
        log.flush();
    }
}

impl LogSink for ContainerLog {
    fn write(&self, stream: StdStream, chunk: &[u8]) {
        self.write_of(stream, chunk, self.clock.now());
    }

    fn write_of(&self, stream: StdStream, chunk: &[u8], printed: Timestamp) {
        if chunk.is_empty() {
            return;
        }
        let hand_over = || self.this.upgrade().is_none_or(|this| self.waiting.try_send(this).is_ok());
        if self.pending.push(stream, chunk, printed, hand_over) {
            self.flush();
        }
    }

    fn last(&self) -> Option<(Timestamp, usize)> {
        let _nobody_writes = locked(&self.file);
        last(&self.path).or_else(|| last(&numbered(&self.path, 1)))
    }

    fn file(&self) -> io::Result<(File, u64)> {
        let bytes = locked(&self.file);
        Ok((self.open()?, *bytes))
    }

    fn grown(&self, bytes: u64) -> io::Result<Option<File>> {
        let mut known = locked(&self.file);
        *known = bytes;
        // What is told may be of a file that was rotated meanwhile.
        let is_full = || fs::metadata(&self.path).is_ok_and(|file| file.len() > LOG_FILE_BYTES_MAX);
        let next = if bytes > LOG_FILE_BYTES_MAX && is_full() {
            self.rotate()?;
            *known = 0;
            Some(self.open()?)
        } else {
            None
        };
        drop(known);
        self.changed.notify_waiters();
        Ok(next)
    }
}

impl ContainerLog {
    /// Which run of the container it is of.
    pub fn run(&self) -> u32 {
        self.run
    }

    /// The run is over: what is left is written, and those who follow come to the end.
    pub fn end(&self) {
        self.pending.finish(self.clock.now());
        self.flush();
        self.ended.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    fn flush(&self) {
        let mut bytes = locked(&self.file);
        let ready = self.pending.take_ready();
        if ready.is_empty() {
            return;
        }
        if let Err(error) = self.append(&ready, &mut bytes) {
            tracing::warn!(path = %self.path.display(), %error, "container output is lost");
        }
        drop(bytes);
        self.changed.notify_waiters();
    }

    fn open(&self) -> io::Result<File> {
        let open = || OpenOptions::new().create(true).append(true).open(&self.path);
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.path.parent().map(fs::create_dir_all).transpose()?;
                open()
            }
            opened => opened,
        }
    }

    fn append(&self, ready: &[u8], bytes: &mut u64) -> io::Result<()> {
        self.open()?.write_all(ready)?;
        *bytes += ready.len() as u64;
        if *bytes > LOG_FILE_BYTES_MAX {
            self.rotate()?;
            *bytes = 0;
        }
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (1..LOG_FILES_MAX - 1).rev() {
            let _absent = fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1));
        }
        fs::rename(&self.path, numbered(&self.path, 1))?;
        self.rotations.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn remove_files(path: &Path) {
    let _absent = fs::remove_file(path);
    for number in 1..LOG_FILES_MAX {
        let _absent = fs::remove_file(numbered(path, number));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
