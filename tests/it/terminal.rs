//! Terminals of modules: `kubectl run -it` and `attach -it` at a pseudo-terminal of the test's own, in sandboxes and in the node's process.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use wherry_runtime::Terminal;
use wherry_tests::{Cluster, Kubectl, until};

use crate::WHERRY;

/// ^C, ^D and the key that erases a character.
const INTERRUPT: &str = "\x03";
const END: &str = "\x04";
const ERASE: &str = "\x7f";

/// A program at a terminal that a person is at, who reads all that is shown.
struct Seat {
    program: Child,
    keys: File,
    shown: Arc<Mutex<String>>,
}

impl Seat {
    fn take(mut command: Command) -> Self {
        let Terminal { master, slave } = Terminal::open().unwrap();
        [&master, &slave].iter().for_each(|side| rustix::io::ioctl_fionbio(side, false).unwrap());
        let side = || OwnedFd::try_clone(&slave).unwrap();
        let program = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let keys = File::from(master);
        let (mut screen, shown) = (keys.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let all = Arc::clone(&shown);
        // Ends with an error when nobody has the other side any more.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = screen.read(&mut buffer) {
                all.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { program, keys, shown }
    }

    fn type_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    fn await_shown(&self, text: &str) {
        let found = until("it is shown", || Ok(self.shown().contains(text).then_some(())));
        assert!(found.is_ok(), "{text:?} is not in {:?}", self.shown());
    }

    fn ended(&mut self) -> Option<i32> {
        until("the program has ended", || Ok(self.program.try_wait()?)).unwrap().code()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ended_already = self.program.kill();
        let _reaped_already = self.program.wait();
    }
}

fn scene(isolation: &str) {
    let cluster = Cluster::start_with(WHERRY, &["--isolation", isolation]).unwrap();
    let Some(kubectl) = Kubectl::of(&cluster) else {
        eprintln!("SKIPPED: kubectl is not installed");
        return;
    };
    cluster.load_guest("misbehave").unwrap();
    let run = |name: &str| {
        let words = ["run", name, "-it", "--restart=Never", "--image=misbehave:v1", "--", "terminal"];
        let mut seat = Seat::take(kubectl.command(&words));
        // kubectl leaves all keys to the other side from the moment on that it has joined.
        seat.await_shown("press");
        seat.type_in("first\r");
        seat.await_shown("given: first\r\n");
        seat
    };
    let code = |name: &str| {
        let path = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
        until("the pod has ended", || {
            let printed = kubectl.run(&["get", "pod", name, "-o", path])?;
            Ok(Some(printed.out.trim().to_owned()).filter(|code| !code.is_empty()))
        })
        .unwrap()
    };

    let mut seat = run("edited");
    seat.type_in(&format!("helXX{ERASE}{ERASE}lo\r"));
    seat.await_shown("given: hello\r\n");
    assert!(seat.shown().contains("helXX\u{8} \u{8}\u{8} \u{8}lo"), "what is typed is shown: {:?}", seat.shown());
    seat.type_in(END);
    assert_eq!((seat.ended(), code("edited").as_str()), (Some(0), "0"), "{}", seat.shown());
    let log = kubectl.run(&["logs", "edited"]).unwrap().out;
    assert!(log.contains("terminals: true true true"), "{log}");

    let mut seat = run("left");
    seat.type_in(INTERRUPT);
    seat.ended();
    assert_eq!(code("left"), "130", "{}", seat.shown());
}

#[test]
fn modules_in_sandboxes_have_terminals() {
    scene("namespace");
}

#[test]
fn modules_in_the_nodes_process_have_terminals() {
    scene("shared");
}
