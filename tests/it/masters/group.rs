//! Masters on addresses of their own, and writers that ask them.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wherry_api::Reason;
use wherry_api::kinds::ConfigMap;
use wherry_client::Client;
use wherry_tests::{Cluster, until};

use crate::WHERRY;
use crate::commands::{attempt, verb};

/// How long a write may take before another master is asked.
const ASKED_MOST: Duration = Duration::from_secs(10);
/// How many acknowledgements wait to be looked at.
const ACKS_MAX: usize = 100_000;

/// Masters of one cluster.
pub struct Group {
    pub masters: Vec<Cluster>,
    pub runtime: Runtime,
}

/// Starts a master of a name, at `127.0.0.NUMBER` and a port that it keeps.
pub fn start(name: &str, number: u8, more: &[&str]) -> Cluster {
    start_at(name, &format!("127.0.0.{number}"), more)
}

/// The same, at an address.
pub fn start_at(name: &str, address: &str, more: &[&str]) -> Cluster {
    let port = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port().to_string();
    let own = ["--name", name, "--bind-address", address, "--api-port", &port];
    Cluster::start_as("master", WHERRY, &[&own, more].concat()).unwrap()
}

impl Group {
    /// So many, named a, b, c: the first founds the cluster, the others join.
    pub fn of(count: u8) -> Self {
        let mut group = Self { masters: vec![start("a", 1, &[])], runtime: Runtime::new().unwrap() };
        for number in 2..=count {
            group.join(&char::from(b'a' + number - 1).to_string(), number, 0, &[]);
        }
        group
    }

    /// One more joins by way of the master at a place.
    pub fn join(&mut self, name: &str, number: u8, by: usize, more: &[&str]) {
        self.admit(by, |invitation| start(name, number, &[invitation, more].concat()));
    }

    /// The one that is started with this invitation joins by way of the master at a place.
    pub fn admit(&mut self, by: usize, start: impl FnOnce(&[&str]) -> Cluster) {
        let token = verb(&self.masters[by], "token create --master");
        let url = self.masters[by].server().unwrap();
        self.masters.push(start(&["--join", &url, "--token", &token]));
    }

    /// Their addresses, as `host:port`.
    pub fn addresses(&self) -> BTreeSet<String> {
        let server = |master: &Cluster| master.server().unwrap().strip_prefix("https://").unwrap().to_owned();
        self.masters.iter().map(server).collect()
    }

    /// The place of the master that leads, as those at `asked` know.
    pub fn leader_by(&self, asked: &[usize]) -> usize {
        until("a master leads", || {
            for place in asked {
                let list = attempt(&self.masters[*place], "masters list").unwrap_or_default();
                let line = list.lines().find(|line| line.contains(" leader ")).unwrap_or_default().to_owned();
                let server = |master: &Cluster| master.server().unwrap().replace("https://", "");
                let found = self.masters.iter().position(|master| line.contains(&server(master)));
                if found.is_some() {
                    return Ok(found);
                }
            }
            Ok(None)
        })
        .unwrap()
    }

    /// The place of the master that leads.
    pub fn leader(&self) -> usize {
        self.leader_by(&(0..self.masters.len()).collect::<Vec<_>>())
    }

    /// An administrator's client of each.
    pub fn clients(&self) -> Vec<Client> {
        self.masters.iter().map(|master| master.client().unwrap()).collect()
    }

    /// Somebody who writes to all masters in turn, one write after the other, until told to stop.
    pub fn writer(&self, prefix: &'static str) -> Writer {
        let clients = Arc::new(Mutex::new(self.clients()));
        let known = Arc::clone(&clients);
        let (acks, seen) = mpsc::channel(ACKS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let task = self.runtime.spawn(async move {
            for number in 0.. {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let name = format!("{prefix}-{number}");
                let began = Instant::now();
                write(&known, &name, number).await;
                acks.send(Ack { name, began, done: Instant::now() }).await.unwrap();
            }
        });
        Writer { clients, stop, task, seen }
    }
}

/// An acknowledged write.
pub struct Ack {
    pub name: String,
    pub began: Instant,
    pub done: Instant,
}

/// See [`Group::writer`].
pub struct Writer {
    /// The masters that are written to.
    pub clients: Arc<Mutex<Vec<Client>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
    seen: mpsc::Receiver<Ack>,
}

impl Writer {
    /// The acknowledgements so far, until one of a write that began after a moment.
    pub fn until_after(&mut self, moment: Instant) -> Vec<Ack> {
        let mut acks = Vec::new();
        loop {
            let ack = self.seen.blocking_recv().unwrap();
            let is_late = ack.began >= moment;
            acks.push(ack);
            if is_late {
                return acks;
            }
        }
    }

    /// Stops; the acknowledgements that were not looked at.
    pub fn end(mut self, runtime: &Runtime) -> Vec<Ack> {
        self.stop.store(true, Ordering::SeqCst);
        runtime.block_on(async {
            let mut acks = Vec::new();
            while let Some(ack) = self.seen.recv().await {
                acks.push(ack);
            }
            self.task.await.unwrap();
            acks
        })
    }
}

/// Writes by way of one master after the other until one acknowledges. One that was written although nobody said so counts.
async fn write(clients: &Mutex<Vec<Client>>, name: &str, first: usize) {
    let metadata = serde_json::json!({"metadata": {"name": name}});
    let object: ConfigMap = serde_json::from_value(metadata).unwrap();
    for place in first.. {
        let api = {
            let clients = clients.lock().unwrap();
            clients[place % clients.len()].namespaced::<ConfigMap>("default")
        };
        match tokio::time::timeout(ASKED_MOST, api.create(&object)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) if error.reason == Reason::AlreadyExists => return,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
