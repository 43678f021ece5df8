//! Connections to containers: exec, attach and port-forward, and what `top` says, by stock kubectl in all the forms that it speaks,
//! and by the binary's own verbs; on a node beside the master, and on one behind NAT.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};

use wherry_tests::{Cluster, Following, Kubectl, Machine, Printed, until};

use crate::WHERRY;

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: c, image: 'hello-http:v1', ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec: {containers: [{name: c, image: 'echo-tcp:v1', ports: [{containerPort: 7000}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: spin, labels: {app: spin}}
spec: {containers: [{name: c, image: 'misbehave:v1', args: [spin], resources: {limits: {cpu: 200m}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec: {containers: [{name: c, image: 'misbehave:v1', args: [stdin], stdin: true}]}
";
/// How much goes through a forwarded connection and comes back.
const LINES: usize = 40_000;

/// Who connects, and the variables that make it speak another form.
struct Client<'a> {
    cluster: &'a Cluster,
    kubectl: Option<Kubectl<'a>>,
    variable: Option<&'static str>,
}

impl Client<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = match &self.kubectl {
            Some(kubectl) => kubectl.command(words),
            None => self.cluster.command(words),
        };
        command.envs(self.variable.map(|variable| (variable, "false")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it with a text on stdin, which then ends.
    fn run_with(&self, words: &[&str], typed: &str) -> Printed {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    fn run(&self, words: &[&str]) -> Printed {
        self.command(words).output().unwrap().into()
    }

    /// Forwards a port until the end of what is returned, and the port here.
    fn forward(&self, what: &str, port: u16) -> (Following, u16) {
        let following = Following::start(self.command(&["port-forward", what, &format!(":{port}")])).unwrap();
        let here = until("a port is forwarded", || {
            let printed = following.printed();
            let line = printed.lines().find_map(|line| line.strip_prefix("Forwarding from 127.0.0.1:"));
            Ok(line.and_then(|line| line.split(' ').next()?.parse().ok()))
        });
        (following, here.unwrap())
    }
}

/// One cluster with the pods of all scenes, ready.
fn cluster() -> Cluster {
    let cluster = Cluster::start(WHERRY).unwrap();
    fill(&cluster);
    cluster
}

fn fill(cluster: &Cluster) {
    for guest in ["hello-http", "echo-tcp", "misbehave", "batch"] {
        cluster.load_guest(guest).unwrap();
    }
    cluster.apply("default", PODS).unwrap();
    let words = ["wait", "--for=condition=Ready", "pod/web", "pod/echo", "pod/spin", "pod/reader", "--timeout=60s"];
    let ready: Printed = cluster.wherry(&words).unwrap().into();
    assert!(ready.ok, "{ready:?}");
}

fn scenes(client: &Client<'_>) {
    forwarded(client);
    attached(client);
    typed(client);
    refused(client);
}

/// The whole answer to lines after which nothing more is said.
fn ask(port: u16, lines: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(lines.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The whole answer to a request, after which the server says no more.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn forwarded(client: &Client<'_>) {
    let (_web, port) = client.forward("pod/web", 8080);
    for path in ["/a", "/b", "/c"] {
        let answer = get(port, path);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("web"), "{answer}");
    }
    let (_echo, port) = client.forward("pod/echo", 7000);
    assert_eq!(ask(port, "one\ntwo\n"), "one (echo)\ntwo (echo)\n", "what is said after the client's end is heard");
    large(port);
    assert_eq!(ask(port, "again\n"), "again (echo)\n");
    let (_service, port) = client.forward("service/web", 80);
    assert!(get(port, "/").starts_with("HTTP/1.1 200"));
}

/// More than any buffer on the way holds, both ways at once.
fn large(port: u16) {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut sending = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for number in 0..LINES {
            writeln!(sending, "line {number} of a large transfer through a forwarded port").unwrap();
        }
        sending.shutdown(Shutdown::Write).unwrap();
    });
    let mut lines = BufReader::new(stream).lines();
    for number in 0..LINES {
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line, format!("line {number} of a large transfer through a forwarded port (echo)"));
    }
    assert!(lines.next().is_none());
    sender.join().unwrap();
}

/// A module's output from now on: each connection makes it print a line.
fn attached(client: &Client<'_>) {
    let (_echo, port) = client.forward("pod/echo", 7000);
    let attached = Following::start(client.command(&["attach", "echo"])).unwrap();
    until("what is printed is heard", || {
        ask(port, "x\n");
        Ok(attached.printed().contains("connection from").then_some(()))
    })
    .unwrap();
    assert!(!attached.printed().contains("listening on"), "only what comes from now on: {}", attached.printed());
}

/// What is typed reaches a module, which repeats it, for one client after the other.
fn typed(client: &Client<'_>) {
    for text in ["one", "two"] {
        let mut child = client.command(&["attach", "-i", "reader"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "typed {text}").unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), format!("typed {text}"));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let nobody = client.run_with(&["attach", "-i", "spin"], "x");
    assert!(!nobody.ok && nobody.err.contains("stdin"), "{nobody:?}");
}

fn refused(client: &Client<'_>) {
    let exec = client.run(&["exec", "web", "--", "sh"]);
    assert!(!exec.ok && exec.err.contains("error: a module has no other programs to run"), "{exec:?}");
    let (_web, port) = client.forward("pod/web", 8081);
    assert_eq!(ask(port, "x\n"), "");
    for (words, message) in [
        (["exec", "none", "--", "sh"], "pods \"none\" not found"),
        (["attach", "web", "-c", "none"], "container none "),
        (["attach", "none", "-c", "c"], "pods \"none\" not found"),
    ] {
        let printed = client.run(&words);
        assert!(!printed.ok && printed.err.contains(message), "{words:?}: {printed:?}");
    }
}

#[test]
fn own_verbs_connect_to_containers() {
    let cluster = cluster();
    let client = Client { cluster: &cluster, kubectl: None, variable: None };
    scenes(&client);
    topped(&client, 1);
}

#[test]
fn containers_of_a_node_behind_nat_are_connected_to_all_the_same() {
    let cluster = Cluster::start(WHERRY).unwrap();
    let client = Client { cluster: &cluster, kubectl: None, variable: None };
    let token = client.run(&["token", "create"]).out;
    // At its address there is nobody: it is for documentation (RFC 5737).
    let hidden = ["--behind-nat", "--advertise-address", "192.0.2.2"];
    let mut hidden = Machine::join(&cluster, "hidden", "127.0.0.2", token.trim(), &hidden).unwrap();
    assert!(client.run(&["cordon", "wherry"]).ok);
    fill(&cluster);
    let log = client.run(&["logs", "echo"]);
    assert!(log.ok && log.out.contains("listening on"), "{log:?}");
    scenes(&client);
    topped(&client, 2);
    hidden.kill().unwrap();
    let told = until("its connection is given up", || {
        let log = client.run(&["logs", "echo"]);
        Ok(log.err.contains("keeps no connection").then_some(log))
    });
    assert!(!told.unwrap().ok);
    hidden.restart().unwrap();
    let mut log = client.run(&["logs", "echo"]);
    let again = until("it is connected to again", || {
        log = client.run(&["logs", "echo"]);
        Ok(log.ok.then_some(()))
    });
    assert!(again.is_ok() && log.out.contains("listening on"), "{log:?}");
}

#[test]
fn kubectl_connects_to_containers_in_every_form() {
    let cluster = cluster();
    let client = |variable| Client { cluster: &cluster, kubectl: Kubectl::of(&cluster), variable };
    if client(None).kubectl.is_none() {
        eprintln!("SKIPPED: kubectl is not installed");
        return;
    }
    scenes(&client(None));
    for variable in ["KUBECTL_PORT_FORWARD_WEBSOCKETS", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS"] {
        scenes(&client(Some(variable)));
    }
    run_and_remove(&client(None));
    topped(&client(None), 1);
}

/// A pod for one command: what it prints is heard, whether or not the client is there in time to attach.
fn run_and_remove(client: &Client<'_>) {
    let words = ["run", "once", "-i", "--rm", "--restart=Never", "--image=batch:v1", "--", "echo", "once", "only"];
    let printed = client.run(&words);
    assert!(printed.out.contains("once only"), "{printed:?}");
    assert!(client.run(&["get", "pod", "once"]).err.contains("not found"));
    let words = ["run", "typed", "-i", "--rm", "--restart=Never", "--image=misbehave:v1", "--", "stdin"];
    let printed = client.run_with(&words, "what was typed\n");
    assert!(printed.ok && printed.out.contains("what was typed"), "its end is the module's: {printed:?}");
}

/// The figures are those of the present, and an idle pod uses nothing.
fn topped(client: &Client<'_>, nodes: usize) {
    // A container that has just been started, on a busy machine, is not known yet.
    let pods = until("metrics are available", || {
        let pods = client.run(&["top", "pod"]);
        Ok((pods.out.contains("spin") && pods.out.contains("web")).then_some(pods))
    });
    let pods = pods.unwrap();
    let cells = |name: &str| -> Vec<u64> {
        let line = pods.out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {pods:?}"));
        let digits = |word: &str| word.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        line.split_whitespace().skip(1).map(digits).collect()
    };
    let (spin, web) = (cells("spin"), cells("web"));
    // What it may have is a fifth of a core; what it gets, a busy machine decides.
    assert!((10..=300).contains(&spin[0]), "{pods:?}");
    assert!(web[0] <= 10, "{pods:?}");
    let chosen = client.run(&["top", "pod", "-l", "app=spin", "--containers"]);
    assert!(chosen.out.lines().count() == 2 && chosen.out.contains("POD"), "{chosen:?}");
    let listed = client.run(&["top", "node"]);
    assert!(listed.out.lines().count() == nodes + 1 && listed.out.contains('%'), "{listed:?}");
    assert!(!client.run(&["top", "pod", "none"]).ok);
}
