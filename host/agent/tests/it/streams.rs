//! Exec, attach and port-forward over the kubelet's endpoints, with containers of the fake runtime.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_rustls::server::TlsStream;
use wherry_agent::server::{OtherNodes, Until, serve};
use wherry_api::Revocations;
use wherry_base::{Clock, SystemClock, Trigger};
use wherry_client::Https;
use wherry_pki::{Authority, LiveCertificate, Subject, Validity};
use wherry_runtime::StdStream;
use wherry_runtime::fake::Script;
use wherry_streaming::port_forward::{self, Forwarded};
use wherry_streaming::remote_command::{self, Outcome, Size, Wanted};
use wherry_streaming::{request_headers, spdy};

use crate::world::{World, is_ready};

struct NoNodes;

impl OtherNodes for NoNodes {
    fn take(&self, _: String, _: TlsStream<TcpStream>, _: OwnedSemaphorePermit, _: Until) {}
}

/// The endpoints of a world's node, and an administrator's way to them, whose certificate may be revoked.
struct Kubelet {
    https: Https,
    revoke: watch::Sender<Revocations>,
    _serving: Trigger,
}

impl Kubelet {
    async fn of(world: &World) -> Self {
        let authority = Authority::generate("test", SystemClock.now()).unwrap();
        let validity = || Validity::of(SystemClock.now(), Duration::from_secs(3600));
        let issue =
            |subject: &Subject<'_>| LiveCertificate::of(&authority.issue(subject, validity()).unwrap()).unwrap();
        let names = ["127.0.0.1".into()];
        let node = issue(&Subject { user: "system:node:n1", group: Some("system:nodes"), names: &names });
        let admin = issue(&Subject { user: "me", group: Some("system:masters"), names: &[] });
        let tls = wherry_pki::server_config(&node, &authority.certificate(), false).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let config = wherry_pki::client_config(&admin, &authority.certificate()).unwrap();
        let trigger = Trigger::new();
        let (revoke, revocations) = watch::channel(Revocations::default());
        let agent = world.agent.clone();
        trigger.drain().spawn(serve(listener, Arc::new(tls), agent, Arc::new(NoNodes), revocations, trigger.drain()));
        Self { https: Https::with_tls(&[url.as_str()], config).unwrap(), revoke, _serving: trigger }
    }

    /// A connection over which streams are opened, to its end. Says so when they are open.
    async fn hold<T>(
        &self,
        (path, protocol): (&str, &'static str),
        open: impl AsyncFnOnce(&spdy::Connection) -> T,
        opened: mpsc::Sender<()>,
    ) {
        let agreed = self.https.upgrade(Method::POST, path, request_headers(protocol)).await.unwrap();
        let (connection, driver) = spdy::client(agreed.io);
        let holding = async {
            let _held = open(&connection).await;
            opened.send(()).await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = driver => {}
            () = holding => {}
        }
    }

    /// What a command prints to stdout and stderr, and how it goes; `typed` is its stdin, `size` its terminal's.
    async fn run(
        &self,
        path: &str,
        typed: Option<&str>,
        size: Option<Size>,
    ) -> Result<(String, String, Outcome), String> {
        let wanted = Wanted { stdin: typed.is_some(), stdout: true, stderr: size.is_none(), tty: size.is_some() };
        let words = [("input", wanted.stdin), ("output", true), ("error", wanted.stderr), ("tty", wanted.tty)];
        let words: String = words.iter().filter(|(_, on)| *on).map(|(word, _)| format!("{word}=1&")).collect();
        let path = format!("{path}{}{words}", if path.contains('?') { "&" } else { "?" });
        let headers = request_headers(remote_command::PROTOCOLS[1]);
        let agreed = self.https.upgrade(Method::POST, &path, headers).await.map_err(|error| error.to_string())?;
        let (connection, driver) = spdy::client(agreed.io);
        let conversation = async {
            let mut asked = remote_command::open(&connection, wanted).await.unwrap();
            if let Some(size) = size {
                size.tell(asked.sizes.as_mut().unwrap()).await.unwrap();
            }
            if let Some(mut stdin) = asked.stdin.take() {
                stdin.write_all(typed.unwrap().as_bytes()).await.unwrap();
                stdin.shutdown().await.unwrap();
            }
            let text = async |reader: Option<wherry_streaming::Reader>| {
                let mut text = String::new();
                if let Some(mut reader) = reader {
                    reader.read_to_string(&mut text).await.unwrap();
                }
                text
            };
            futures::join!(text(asked.stdout), text(asked.stderr), Outcome::hear(asked.error))
        };
        let ((out, err, outcome), ()) = futures::join!(conversation, driver);
        Ok((out, err, outcome))
    }
}

#[tokio::test]
async fn programs_run_in_a_container_and_their_streams_stay_apart() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("linux", Script { programs: true, ..Script::default() });
    world
        .create("web", json!({ "containers": [{ "name": "a", "image": "linux" }, { "name": "b", "image": "wasm" }] }))
        .await;
    world.wait("web", is_ready).await;
    let kubelet = Kubelet::of(&world).await;
    let exec = "/exec/default/web/a?command=";
    let done = |out: &str, err: &str, code| Ok((out.to_owned(), err.to_owned(), Outcome::Exited(code)));
    assert_eq!(kubelet.run(&format!("{exec}echo&command=a%20b&command=c"), None, None).await, done("a b c\n", "", 0));
    assert_eq!(kubelet.run(&format!("{exec}complain&command=x"), None, None).await, done("", "x\n", 0));
    assert_eq!(kubelet.run(&format!("{exec}exit&command=3"), None, None).await, done("", "", 3));
    assert_eq!(kubelet.run(&format!("{exec}cat"), Some("typed"), None).await, done("typed", "", 0));
    let size = Size { width: 80, height: 24 };
    assert_eq!(kubelet.run(&format!("{exec}size"), None, Some(size)).await, done("80x24", "", 0));
    let (_, _, outcome) = kubelet.run(&format!("{exec}nonsense"), None, None).await.unwrap();
    assert_eq!(outcome, Outcome::Failed("exec: \"nonsense\": executable file not found in $PATH".into()));
    let (_, _, outcome) = kubelet.run("/exec/default/web/b?command=sh", None, None).await.unwrap();
    assert!(matches!(&outcome, Outcome::Failed(message) if message.contains("module")), "{outcome:?}");
    for (path, message) in [
        ("/exec/default/web/none?command=sh", "container not found (\"none\")"),
        ("/exec/default/none/a?command=sh", "pod \"none\" not found"),
    ] {
        assert!(kubelet.run(path, None, None).await.unwrap_err().contains(message), "{path}");
    }
    world.shut_down().await;
}

#[tokio::test]
async fn who_attaches_to_a_module_reads_on_until_its_end() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("talks", Script { output: "before\n".into(), ..Script::default() });
    world.create("web", json!({ "restartPolicy": "Never", "containers": [{ "name": "a", "image": "talks" }] })).await;
    world.wait("web", is_ready).await;
    let kubelet = Kubelet::of(&world).await;
    let container = world.runtime.started().remove(0);
    let attached = kubelet.run("/attach/default/web/a", None, None);
    let talking = async {
        // Until it has been heard, it is said again: nobody knows when the client is there.
        for _ in 0..200 {
            container.spec.logs.write(StdStream::Out, b"after\n");
            container.spec.logs.write(StdStream::Err, b"trouble\n");
            tokio::task::yield_now().await;
        }
    };
    let mut attached = std::pin::pin!(attached);
    let early = async {
        tokio::select! {
            ended = attached.as_mut() => panic!("ended early: {ended:?}"),
            () = talking => {}
        }
    };
    early.await;
    container.end(wherry_runtime::fake::ended(0));
    let (out, err, outcome) = attached.await.unwrap();
    assert!(!out.contains("before") && out.lines().all(|line| line == "after"), "{out}");
    assert!(err.lines().all(|line| line == "trouble"), "{err}");
    assert_eq!(outcome, Outcome::Exited(0));
    world.shut_down().await;
}

#[tokio::test]
async fn ports_of_a_pods_localhost_are_forwarded() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("serves", Script::answers(200));
    world
        .create(
            "web",
            json!({ "containers": [{ "name": "a", "image": "serves", "ports": [{ "containerPort": 80 }] }] }),
        )
        .await;
    world.wait("web", is_ready).await;
    let kubelet = Kubelet::of(&world).await;
    let headers = request_headers(port_forward::PROTOCOL);
    let agreed = kubelet.https.upgrade(Method::POST, "/portForward/default/web", headers).await.unwrap();
    let (connection, driver) = spdy::client(agreed.io);
    let asking = async {
        let Forwarded { mut error, .. } = port_forward::open(&connection, 81, 0).await.unwrap();
        let mut message = String::new();
        error.reader.read_to_string(&mut message).await.unwrap();
        assert!(message.contains("127.0.0.1:81 in pod default/web: connection refused"), "{message}");
        let open = port_forward::open(&connection, 80, 1).await.unwrap();
        connection.close().await;
        drop(open);
    };
    futures::join!(asking, driver);
    world.shut_down().await;
}

#[tokio::test]
async fn what_was_opened_with_a_certificate_ends_once_it_is_revoked() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("linux", Script { programs: true, ..Script::answers(200) });
    world
        .create("web", json!({ "containers": [{ "name": "a", "image": "linux", "ports": [{ "containerPort": 80 }] }] }))
        .await;
    world.wait("web", is_ready).await;
    let kubelet = Kubelet::of(&world).await;
    let (opened, mut open) = mpsc::channel(1);
    let exec = ("/exec/default/web/a?command=cat&input=1&output=1", remote_command::PROTOCOLS[1]);
    let attach = ("/attach/default/web/a?output=1", remote_command::PROTOCOLS[1]);
    let forward = ("/portForward/default/web", port_forward::PROTOCOL);
    let command = |stdin| {
        let wanted = Wanted { stdin, stdout: true, stderr: false, tty: false };
        async move |connection: &spdy::Connection| remote_command::open(connection, wanted).await.unwrap()
    };
    let dial = async |connection: &spdy::Connection| port_forward::open(connection, 80, 0).await.unwrap();
    let mut log = kubelet.https.stream("/containerLogs/default/web/a?follow=true").await.unwrap();
    let revoking = async {
        for _ in 0..3 {
            open.recv().await.unwrap();
        }
        let map = json!({ "data": { "lost": "me" } });
        kubelet.revoke.send_replace(Revocations::of(&serde_json::from_value(map).unwrap()));
    };
    // None of them ends otherwise.
    futures::join!(
        kubelet.hold(exec, command(true), opened.clone()),
        kubelet.hold(attach, command(false), opened.clone()),
        kubelet.hold(forward, dial, opened.clone()),
        async { while let Some(Ok(_)) = log.next().await {} },
        revoking,
    );
    world.shut_down().await;
}
