//! The API server as a load generator sees it: connections of their own, bytes in and out, nothing decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::Method;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wherry_client::{Https, Kubeconfig};
use wherry_tests::Cluster;

use crate::figures::Samples;
use crate::load::Load;

/// What one request asks.
pub struct Call {
    pub method: Method,
    pub path: String,
    pub content_type: Option<&'static str>,
    pub body: String,
}

impl Call {
    pub fn get(path: String) -> Self {
        Self { method: Method::GET, path, content_type: None, body: String::new() }
    }

    pub fn post(path: impl Into<String>, body: String) -> Self {
        Self { method: Method::POST, path: path.into(), content_type: Some("application/json"), body }
    }

    pub fn merge(path: String, body: String) -> Self {
        Self { method: Method::PATCH, path, content_type: Some("application/merge-patch+json"), body }
    }
}

/// An administrator's connections, one for each client, and the threads that they run on.
pub struct Server {
    clients: Vec<Arc<Https>>,
    runtime: Runtime,
}

impl Server {
    /// `clients` connections, not opened yet.
    pub fn of(cluster: &Cluster, clients: usize) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::load(&cluster.kubeconfig())?;
        let clients = (0..clients).map(|_| Ok(Arc::new(Https::new(&kubeconfig)?))).collect::<anyhow::Result<_>>()?;
        Ok(Self { clients, runtime: Runtime::new()? })
    }

    /// One request; its answer's body and the time it took.
    pub fn ask(&self, call: Call) -> anyhow::Result<(Bytes, Duration)> {
        let client = self.clients.first().context("no client")?;
        let sent = Instant::now();
        let body = self.runtime.block_on(ask(client, call))?;
        Ok((body, sent.elapsed()))
    }

    /// Every client asks for one after the other, until `end` says of how many asked that it is enough.
    pub fn load(
        &self,
        clients: usize,
        end: impl Fn(usize, Duration) -> bool + Clone + Send + 'static,
        call: impl Fn(usize) -> Call + Clone + Send + 'static,
    ) -> anyhow::Result<Load> {
        let (asked, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for client in self.clients.iter().take(clients) {
                let (client, asked, end, call) = (Arc::clone(client), Arc::clone(&asked), end.clone(), call.clone());
                tasks.spawn(async move {
                    let mut samples = Vec::new();
                    loop {
                        let (number, sent) = (asked.fetch_add(1, Ordering::Relaxed), Instant::now());
                        if end(number, began.elapsed()) {
                            return anyhow::Ok(samples);
                        }
                        ask(&client, call(number)).await?;
                        samples.push(sent.elapsed());
                    }
                });
            }
            let mut samples = Vec::new();
            while let Some(ended) = tasks.join_next().await {
                samples.extend(ended??);
            }
            let per_second = samples.len() as f64 / began.elapsed().as_secs_f64();
            Ok(Load { per_second, latency: Samples::new(samples) })
        })
    }

    /// Asks `clients` at once for `time`.
    pub fn load_for(
        &self,
        clients: usize,
        time: Duration,
        call: impl Fn(usize) -> Call + Clone + Send + 'static,
    ) -> anyhow::Result<Load> {
        self.load(clients, move |_, passed| passed >= time, call)
    }

    /// Asks for all of `count`, with every client.
    pub fn load_all(
        &self,
        count: usize,
        call: impl Fn(usize) -> Call + Clone + Send + 'static,
    ) -> anyhow::Result<Load> {
        self.load(usize::MAX, move |asked, _| asked >= count, call)
    }

    /// Opens watches of `path` and tells, for each, when each of its first `events` came. `act` runs once all are open.
    pub fn watch<T>(
        &self,
        path: &str,
        watchers: usize,
        events: usize,
        act: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Vec<Vec<Instant>>)> {
        let open = async {
            let mut streams = Vec::new();
            for client in self.clients.iter().cycle().take(watchers) {
                streams.push(client.stream(path).await?);
            }
            anyhow::Ok(streams)
        };
        let streams = self.runtime.block_on(open)?;
        let watched: Vec<_> = streams.into_iter().map(|stream| self.runtime.spawn(arrivals(stream, events))).collect();
        let acted = act(self)?;
        let all = self.runtime.block_on(futures::future::try_join_all(watched))?;
        Ok((acted, all.into_iter().collect::<anyhow::Result<_>>()?))
    }
}

async fn ask(client: &Https, call: Call) -> anyhow::Result<Bytes> {
    let Call { method, path, content_type, body } = call;
    let told = format!("{method} {path}");
    let (status, _, body) = client.call(method, &path, "application/json", content_type, body.into()).await?;
    ensure!(status.is_success(), "{told}: {status}: {}", String::from_utf8_lossy(&body));
    Ok(body)
}

/// An event is a line.
async fn arrivals(
    mut stream: BoxStream<'static, Result<Bytes, wherry_api::Error>>,
    events: usize,
) -> anyhow::Result<Vec<Instant>> {
    let mut times = Vec::with_capacity(events);
    while times.len() < events {
        let chunk = stream.next().await.context("a watch ended early")??;
        let now = Instant::now();
        times.extend(chunk.iter().filter(|byte| **byte == b'\n').map(|_| now));
    }
    Ok(times)
}
