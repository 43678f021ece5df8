//! What sandboxes run instead of modules: programs by the name of their image.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use wherry_runtime::{
    Code, Container, ContainerSpec, Exit, ExitReason, GivenCode, Image, ImageError, ImageRequest, LogSink, Runtime,
    StartError, StdStream, Usage,
};
use wherry_vnet::{Body, HttpHandler, Unanswered, full_body};

/// What all code here is compiled for.
pub const ENGINE: &str = "programs";

/// How programs end whose port another container of the pod has.
pub const IN_USE: i32 = 98;

/// Programs by the name of their image.
pub struct Programs;

#[async_trait]
impl Runtime for Programs {
    fn name(&self) -> &'static str {
        "programs"
    }

    async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError> {
        Err(ImageError::NeverPull(wanted.reference.into()))
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let stopping = CancellationToken::new();
        let is_deaf = spec.image.digest == "deaf";
        let (tell, exit) = tokio::sync::watch::channel(None);
        let stopped = stopping.clone();
        // What must be bound is bound when the start is over.
        let (bound, is_bound) = tokio::sync::oneshot::channel();
        tokio::task::spawn(async move {
            let code = tokio::select! {
                code = run(&spec, bound) => code,
                () = stopped.cancelled(), if !is_deaf => {
                    spec.logs.write(StdStream::Out, b"stopped\n");
                    0
                }
            };
            drop(spec);
            tell.send_replace(Some(code));
            std::future::pending::<()>().await;
        });
        let _no_port = is_bound.await;
        Ok(Arc::new(Program { exit, stopping }))
    }
}

impl GivenCode for Programs {
    fn install(&self, _: &str, _: Code) -> Result<(), ImageError> {
        Ok(())
    }

    fn engine(&self) -> String {
        ENGINE.into()
    }
}

async fn run(spec: &ContainerSpec, bound: tokio::sync::oneshot::Sender<()>) -> i32 {
    match spec.image.digest.as_str() {
        "deaf" => {
            drop(bound);
            std::future::pending().await
        }
        "prints" => {
            print(spec, "printed".into());
            3
        }
        "counts" => {
            drop(bound);
            count(spec).await
        }
        "talks" => {
            drop(bound);
            talk(spec).await
        }
        "client" => client(spec).await,
        "echo" => {
            let Ok(mut listener) = spec.network.listen(on(spec)).unwrap().settled().await else { return IN_USE };
            bound.send(()).unwrap();
            while let Some(stream) = listener.accept().await {
                tokio::task::spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(stream);
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                    let _ = writer.shutdown().await;
                });
            }
            0
        }
        "web" => {
            let mut listener = spec.network.listen_http(8080, Arc::new(Web(Arc::clone(&spec.logs)))).unwrap();
            bound.send(()).unwrap();
            while listener.accept().await.is_some() {}
            0
        }
        "udp-echo" => {
            let Ok(mut socket) = spec.network.bind_udp(on(spec)).unwrap().settled().await else { return IN_USE };
            bound.send(()).unwrap();
            loop {
                std::future::poll_fn(|context| socket.poll_receivable(context)).await;
                let Some(datagram) = socket.try_receive() else { continue };
                socket.send_to(datagram.payload, datagram.from).unwrap();
            }
        }
        "udp-client" => {
            let mut socket = spec.network.bind_udp("0.0.0.0:0".parse().unwrap()).unwrap();
            socket.send_to("ping".into(), to(spec)).unwrap();
            std::future::poll_fn(|context| socket.poll_receivable(context)).await;
            let answer = socket.try_receive().unwrap();
            i32::from(answer.from != to(spec) || answer.payload != "ping")
        }
        other => panic!("no program {other}"),
    }
}

fn print(spec: &ContainerSpec, text: String) {
    spec.logs.write(StdStream::Out, format!("{text}\n").as_bytes());
}

fn to(spec: &ContainerSpec) -> SocketAddr {
    spec.env.iter().find(|(name, _)| name == "TO").unwrap().1.parse().unwrap()
}

/// Where a server listens: at port 8080 of all addresses, where it is not told.
fn on(spec: &ContainerSpec) -> SocketAddr {
    let told = spec.env.iter().find(|(name, _)| name == "ON");
    told.map_or("0.0.0.0:8080", |(_, on)| on).parse().unwrap()
}

/// Prints lines, and ends when its word is said.
async fn count(spec: &ContainerSpec) -> i32 {
    let word = Path::new(&spec.env[0].1);
    for number in 0.. {
        if word.exists() {
            break;
        }
        print(spec, format!("line {number}"));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    print(spec, "heard".into());
    7
}

/// Keeps one connection, and prints each answer.
async fn talk(spec: &ContainerSpec) -> i32 {
    let mut stream = spec.network.connect(to(spec)).await.unwrap();
    for number in 0_u32.. {
        stream.write_u32(number).await.unwrap();
        let answer = stream.read_u32().await.unwrap();
        print(spec, format!("answer {answer}."));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    0
}

async fn client(spec: &ContainerSpec) -> i32 {
    let stream = match spec.network.connect(to(spec)).await {
        Ok(stream) => stream,
        Err(error) => {
            print(spec, error.to_string());
            return 1;
        }
    };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        writer.write_all(&vec![7; 300_000]).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut answer = Vec::new();
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut answer));
    print(spec, format!("echoed {} bytes", read.unwrap()));
    0
}

/// Answers by the path that is asked for.
struct Web(Arc<dyn LogSink>);

/// Says so when it goes.
struct Dropped(Arc<dyn LogSink>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.write(StdStream::Out, b"dropped\n");
    }
}

#[async_trait]
impl HttpHandler for Web {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, Unanswered> {
        let (head, body) = request.into_parts();
        let piece = |bytes: &'static [u8]| Ok(Frame::data(Bytes::from_static(bytes)));
        let dropped = Dropped(Arc::clone(&self.0));
        Ok(match head.uri.path() {
            "/echo" => Response::new(body),
            "/wait" => {
                self.0.write(StdStream::Out, b"waits\n");
                let _dropped = dropped;
                std::future::pending().await
            }
            "/trap" => return Err("trapped".into()),
            "/cut" => {
                let pieces = [piece(b"begun"), Err("trapped".into())];
                Response::new(StreamBody::new(futures::stream::iter(pieces)).boxed_unsync())
            }
            "/trailers" => {
                let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from(5))]);
                let pieces = [piece(b"whole"), Ok(Frame::trailers(trailers))];
                Response::new(StreamBody::new(futures::stream::iter(pieces)).boxed_unsync())
            }
            "/endless" => {
                let pieces = futures::stream::repeat_with(move || {
                    let _with_the_stream = &dropped;
                    Ok(Frame::data(Bytes::from(vec![7; 10_000])))
                });
                Response::new(StreamBody::new(pieces).boxed_unsync())
            }
            path => {
                let told = format!("{} {path} {:?}", head.method, head.headers);
                Response::builder().status(201).header("x-a", "1").header("x-a", "2").body(full_body(told))?
            }
        })
    }
}

struct Program {
    exit: tokio::sync::watch::Receiver<Option<i32>>,
    stopping: CancellationToken,
}

#[async_trait]
impl Container for Program {
    async fn exited(&self) -> Exit {
        let code = self.exit.clone().wait_for(Option::is_some).await.unwrap().unwrap();
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
        Exit { code, reason, message: String::new() }
    }

    fn stop(&self) {
        self.stopping.cancel();
    }

    fn kill(&self) {
        self.stopping.cancel();
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
