//! The outside of a sandbox process: its directories, its socket, the sockets passed to it, and what it reports.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::process::Child;

use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg, socket};
use wherry_confine::Start;

/// The first argument of this binary when it is to play the sandbox.
pub const INSIDE: &str = "inside";

/// The first argument of this binary when it is to end at once.
pub const NOTHING: &str = "nothing";

/// How many sockets are passed: one to connect, one to bind, one to listen on.
pub const PASSED: usize = 3;

/// As whom a sandbox runs.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// As the test: the outcome on a machine where the agent is not root.
    Same,
    /// As the sandboxes' user with this index.
    Own(u32),
}

/// The directories `readable`, `writable` and `outside`, and a port that accepts connections.
pub struct Scene {
    root: tempfile::TempDir,
    listener: TcpListener,
}

/// A started sandbox, its socket, and what must live as long.
pub struct Sandbox {
    pub child: Child,
    socket: UnixStream,
    _scene: Scene,
    _leaked: OwnedFd,
}

impl Scene {
    pub fn new() -> Self {
        let root = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        for directory in ["readable", "writable", "outside"] {
            let directory = root.path().join(directory);
            fs::create_dir(&directory).unwrap();
            // Open to everyone, so that no refusal is one by mode.
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
            for file in ["file", "old"] {
                fs::write(directory.join(file), "text").unwrap();
                fs::set_permissions(directory.join(file), fs::Permissions::from_mode(0o666)).unwrap();
            }
        }
        Self { root, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// Starts a sandbox, passes it its sockets, and answers its attempts and their results.
    pub fn play(self, mode: &str, who: Who) -> BTreeMap<String, String> {
        let sandbox = self.start(mode, who);
        pass_sockets(&sandbox.socket);
        sandbox.finish()
    }

    pub fn start(self, mode: &str, who: Who) -> Sandbox {
        let user = match who {
            Who::Same => None,
            Who::Own(index) => {
                let user = Some(wherry_confine::user(index).unwrap());
                chown(self.root.path().join("writable"), user, user).unwrap();
                chown(self.root.path().join("writable/file"), user, user).unwrap();
                user
            }
        };
        let (socket, theirs) = UnixStream::pair().unwrap();
        let leaked = inheritable();
        let port = self.listener.local_addr().unwrap().port().to_string();
        let root = self.root.path().to_str().unwrap().to_owned();
        let user = user.map_or_else(String::new, |user| user.to_string());
        let arguments = [INSIDE.to_owned(), mode.to_owned(), root, port, leaked.as_raw_fd().to_string(), user];
        let arguments = arguments.into_iter().map(Into::into).collect();
        let start = Start { arguments, socket: theirs.into(), stderr: None };
        let child = start.command().spawn().unwrap();
        Sandbox { child, socket, _scene: self, _leaked: leaked }
    }
}

impl Sandbox {
    /// Lets the sandbox begin, and reads what it reports until it ends.
    pub fn finish(mut self) -> BTreeMap<String, String> {
        self.socket.write_all(b"!").unwrap();
        let mut text = String::new();
        self.socket.read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the sandbox ended with {status} after:\n{text}");
        text.lines().filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }
}

/// A descriptor that a careless library would leave open to children, with a number that a child does not reach by itself.
fn inheritable() -> OwnedFd {
    let file = fs::File::open("/dev/zero").unwrap();
    let high = rustix::io::fcntl_dupfd_cloexec(&file, 200).unwrap();
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).unwrap();
    high
}

/// The message that a sandbox waits for before it begins, with unconnected TCP sockets.
fn pass_sockets(to: &UnixStream) {
    let sockets: Vec<OwnedFd> =
        (0..PASSED).map(|_| socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()).collect();
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    sendmsg(to, &[IoSlice::new(b"+")], &mut control, SendFlags::empty()).unwrap();
}
