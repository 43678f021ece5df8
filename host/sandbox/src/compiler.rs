//! Compiling in a process of its own: this binary again, confined, for one module. It reads the module from its standard
//! input, writes the code to its standard output and what is wrong to its standard error, and can do nothing else: it opens
//! no file, makes no connection, and has an end in memory and in time. So a module that gets the better of the compiler has
//! got its own code, and nothing more.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use wherry_confine::{ConfineError, Plan, confine};
use wherry_runtime::Codegen;

use crate::node::Processes;

/// The verb that makes this binary a compiler.
pub const COMPILE_VERB: &str = "compile";
/// Its argument for code that counts no epochs.
pub const WITHOUT_EPOCHS: &str = "--without-epochs";

/// The private memory that compiling one module may take, in bytes.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// The size of a module's code, in bytes.
const CODE_BYTES_MAX: u64 = 512 << 20;
/// The time on a CPU that it may take, all threads together, in seconds.
const CPU_SECONDS_MAX: u64 = 120;
/// The time that it may take.
const TIME_MOST: Duration = Duration::from_secs(300);
/// Threads, one for each processor that compiles.
const THREADS_MAX: u64 = 256;
const OPEN_FILES_MAX: u64 = 64;
/// What is heard of its standard error, in bytes.
const WORDS_BYTES_MAX: u64 = 1024;

/// The running binary, also where its path holds a newer one by now.
const OWN_BINARY: &str = "/proc/self/exe";

/// Confines this process, which must have no thread yet, to compiling, as this user where it may become another.
pub fn confine_compiler(user: Option<u32>) -> Result<(), ConfineError> {
    let plan = Plan {
        user,
        directories: Vec::new(),
        descriptors: Vec::new(),
        open_files_max: OPEN_FILES_MAX,
        threads_max: user.map(|_| THREADS_MAX),
        file_bytes_max: CODE_BYTES_MAX,
        data_bytes_max: Some(MEMORY_BYTES_MAX),
        cpu_seconds_max: Some(CPU_SECONDS_MAX),
    };
    // What is lacking is lacking for sandboxes, too, and was told with them.
    confine(&plan).map(drop)
}

#[async_trait]
impl Codegen for Processes {
    async fn generate(&self, module: Bytes, epochs: bool) -> Result<Vec<u8>, String> {
        let user = self.compilers_user();
        let compiled = async {
            let running = blocking(move || Running::start(user, &module, epochs)).await?;
            let ended = running.ended().await?;
            blocking(move || ended.outcome()).await
        };
        compiled.await.map_err(|error| format!("it cannot be compiled now: {error}"))?
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A process that compiles; it is killed when nobody waits for it any more.
struct Running {
    child: Child,
    code: File,
    words: File,
}

/// One that has ended.
struct Ended {
    /// `None`: it was killed because it took too long.
    status: Option<ExitStatus>,
    code: File,
    words: File,
}

impl Running {
    fn start(user: Option<u32>, module: &[u8], epochs: bool) -> io::Result<Self> {
        let (mut input, code, words) = (memory_file()?, memory_file()?, memory_file()?);
        input.write_all(module)?;
        input.rewind()?;
        let mut command = Command::new(OWN_BINARY);
        command.arg(COMPILE_VERB).args((!epochs).then_some(WITHOUT_EPOCHS));
        command.args(user.map(|user| format!("--user={user}")));
        command.env_clear().current_dir("/").stdin(input).stdout(code.try_clone()?).stderr(words.try_clone()?);
        Ok(Self { child: command.spawn()?, code, words })
    }

    /// Resolves when it has ended, or has taken too long.
    async fn ended(mut self) -> io::Result<Ended> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let process = wherry_base::watched(pidfd_open(pid, PidfdFlags::NONBLOCK)?, Interest::READABLE)?;
        let in_time = tokio::time::timeout(TIME_MOST, process.readable()).await.is_ok();
        let status = if in_time { Some(self.child.wait()?) } else { None };
        Ok(Ended { status, code: self.code.try_clone()?, words: self.words.try_clone()? })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _waited_already = self.child.wait();
    }
}

impl Ended {
    /// The code, or a sentence that says why there is none.
    fn outcome(mut self) -> io::Result<Result<Vec<u8>, String>> {
        let Some(status) = self.status else {
            return Ok(Err(format!("compiling it takes longer than {} s", TIME_MOST.as_secs())));
        };
        if status.success() {
            return contents(&mut self.code, CODE_BYTES_MAX).map(Ok);
        }
        let words = contents(&mut self.words, WORDS_BYTES_MAX)?;
        let words = String::from_utf8_lossy(&words).trim().trim_start_matches("error: ").to_owned();
        Ok(Err(match status.signal() {
            None => words,
            Some(signal) => format!(
                "compiling it was ended by signal {signal}; it may take {} MiB of memory and {CPU_SECONDS_MAX} s of CPU time. {words}",
                MEMORY_BYTES_MAX >> 20
            ),
        }))
    }
}

/// A file without a name, which is gone when nobody has it open.
fn memory_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("wherry-compile", MemfdFlags::CLOEXEC)?.into())
}

/// What a file holds, from its beginning; no more than so much.
fn contents(file: &mut File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.rewind()?;
    file.take(bytes_max).read_to_end(&mut contents)?;
    Ok(contents)
}
