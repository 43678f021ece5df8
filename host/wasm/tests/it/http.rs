//! HTTP modules of WASI 0.2 and 0.3: by hand-over and over a stream, in trouble, and at their end.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_runtime::ExitReason;
use wherry_vnet::{HttpHandler, full_body};

use crate::node::{Guest, Pod, Started, name, network, run, spawn, until};

const PORT: u16 = 8080;
/// Longer than any request here that answers takes: for those that must not answer.
const WHILE: Duration = Duration::from_millis(200);

struct Site {
    pod: Pod,
    started: Started,
}

impl Site {
    async fn new(guest: Guest) -> Self {
        let pod = Pod::new();
        let started = pod.start(Guest { http_port: Some(PORT), ..guest }).await;
        Self { pod, started }
    }

    fn handler(&self) -> Arc<dyn HttpHandler> {
        network().handler(self.pod.at(PORT)).expect("the module serves its port")
    }

    /// By hand-over, as the ingress asks: status and text; `None` where the answer or its body fails.
    async fn ask(&self, path: &str) -> Option<(u16, String)> {
        let request = http::Request::get(path).header("host", "site.example").body(full_body("")).unwrap();
        let response = self.handler().handle(request).await.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn cpu(&self) -> Duration {
        Duration::from_nanos(self.started.container.usage().cpu_nanos)
    }
}

#[test]
fn both_worlds_answer_by_hand_over_and_over_a_stream() {
    run(async {
        for (image, greeting) in
            [("hello-http", "Hello from buoy at /a\n"), ("hello3", "Hello from buoy (WASI 0.3) at /a\n")]
        {
            let site = Site::new(Guest::new(image, &[]).env("POD_NAME", "buoy")).await;
            assert_eq!(site.ask("/a").await, Some((200, greeting.to_owned())));
            let mut stream = network().dial(site.pod.at(PORT)).await.unwrap();
            stream.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(greeting), "{answer}");
            assert_eq!(site.started.container.usage().memory_bytes, 0, "an idle module holds no instance");
        }
    });
}

#[test]
fn a_module_calls_another_over_the_pod_network() {
    run(async {
        let site = Site::new(Guest::new("hello-http", &[]).env("POD_NAME", "far")).await;
        name("far", site.pod.network.address());
        for image in ["hello-http", "hello3"] {
            let near = Site::new(Guest::new(image, &[]).env("POD_NAME", "near")).await;
            let fetched = near.ask("/fetch/far:8080").await;
            assert_eq!(fetched, Some((200, "200: Hello from far\n".to_owned())), "{image}");
            for (address, said) in [
                ("192.0.2.1:80", "DestinationIpProhibited"),
                ("localhost:9", "ConnectionRefused"),
                ("nowhere:80", "DnsError"),
            ] {
                let (_, refused) = near.ask(&format!("/fetch/{address}")).await.unwrap();
                assert!(refused.contains(said), "{image}: {refused}");
            }
        }
    });
}

#[test]
fn answers_may_be_large() {
    run(async {
        let name = "x".repeat(6 << 20);
        for image in ["hello-http", "hello3"] {
            let site = Site::new(Guest::new(image, &[]).env("POD_NAME", &name)).await;
            let (status, answer) = site.ask("/").await.unwrap_or_default();
            assert_eq!(status, 200, "{image}: {}", site.started.log.text());
            assert!(answer.len() > name.len() && answer.contains(&name), "{image}: {} bytes", answer.len());
        }
    });
}

#[test]
fn an_answer_before_the_body_is_read_ends_no_connection() {
    const BODY_BYTES: usize = 1 << 20;
    run(async {
        let site = Site::new(Guest::new("hello-http", &[])).await;
        let mut stream = network().dial(site.pod.at(PORT)).await.unwrap();
        let head = format!("POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY_BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains("at /a\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
        }
        stream.write_all(&vec![b'a'; BODY_BYTES]).await.unwrap();
        stream.write_all(b"GET /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("at /b\n"), "{answer}");
    });
}

#[test]
fn a_trap_fails_its_request_alone() {
    run(async {
        let site = Site::new(Guest::new("hello-http", &[])).await;
        assert_eq!(site.ask("/trap").await, None);
        assert_eq!(site.ask("/begin-and-trap").await, None, "an answer that breaks off is not taken for a whole one");
        for path in ["/trap", "/begin-and-trap"] {
            let mut stream = network().dial(site.pod.at(PORT)).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            let _ended = stream.read_to_string(&mut answer).await;
            assert!(!answer.ends_with("0\r\n\r\n"), "{path}: {answer:?}");
            assert!(path != "/trap" || answer.is_empty(), "{path}: {answer:?}");
        }
        assert_eq!(site.ask("/env/NOTHING").await.map(|answer| answer.0), Some(404));
        assert!(site.started.log.text().contains("unreachable"), "{}", site.started.log.text());
    });
}

#[test]
fn out_of_memory_ends_the_container() {
    run(async {
        let site = Site::new(Guest::new("hello-http", &[]).memory(16 << 20)).await;
        assert_eq!(site.ask("/hog").await, None);
        let exit = site.started.container.exited().await;
        assert_eq!((exit.code, exit.reason), (137, ExitReason::OomKilled));
        assert!(network().handler(site.pod.at(PORT)).is_none(), "its port is free again");
    });
}

#[test]
fn an_endless_request_stalls_nobody_and_ends_with_its_caller() {
    run(async {
        let site = Site::new(Guest::new("hello-http", &[]).env("POD_NAME", "busy")).await;
        assert!(tokio::time::timeout(WHILE, site.ask("/spin")).await.is_err(), "it does not answer");
        site.started.gone().await;
        let used = site.cpu();
        assert!(used > WHILE / 20, "it ran: {used:?}");
        let (spinning, answered) = tokio::join!(tokio::time::timeout(WHILE, site.ask("/spin")), site.ask("/"));
        assert!(spinning.is_err());
        assert_eq!(answered, Some((200, "Hello from busy\n".to_owned())));
    });
}

#[test]
fn a_kill_ends_endless_requests() {
    run(async {
        let site = Site::new(Guest::new("hello-http", &[])).await;
        let handler = site.handler();
        for path in ["/spin", "/begin-and-spin"] {
            let handler = Arc::clone(&handler);
            spawn(async move {
                let request = http::Request::get(path).header("host", "x").body(full_body("")).unwrap();
                if let Ok(response) = handler.handle(request).await {
                    drop(response.into_body().collect().await);
                }
            });
        }
        until(|| site.cpu() > Duration::from_millis(20)).await;
        site.started.container.kill();
        assert_eq!(site.started.container.exited().await.code, 137);
        site.started.gone().await;
    });
}

#[test]
fn a_stop_lets_requests_finish_and_takes_no_new_one() {
    run(async {
        let site = Site::new(Guest::new("hello-http", &[]).env("POD_NAME", "last")).await;
        let handler = site.handler();
        let slow = tokio::join!(site.ask("/sleep/300"), async {
            until(|| site.started.container.usage().memory_bytes > 0).await;
            site.started.container.stop();
            until(|| network().handler(site.pod.at(PORT)).is_none()).await;
            let late = http::Request::get("/").header("host", "x").body(full_body("")).unwrap();
            handler.handle(late).await.is_err()
        });
        assert_eq!(slow, (Some((200, "Hello from last at /sleep/300\n".to_owned())), true));
        assert_eq!(site.started.container.exited().await.code, 0);
    });
}
