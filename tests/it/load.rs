//! Clients of an ingress, who go on asking while something happens to the cluster.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wherry_tests::{get_at, until};

const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);

/// Requests to the ingress of the nodes that there are, one after the other by each client.
pub struct Load {
    /// Where is asked, in turn.
    pub nodes: Arc<Mutex<Vec<SocketAddr>>>,
    answered: Arc<[AtomicUsize; CLIENTS]>,
    failures: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins, for a host that all of these serve.
    pub fn begin(runtime: &Runtime, host: &'static str, nodes: Vec<SocketAddr>) -> Self {
        let mut load = Self {
            nodes: Arc::new(Mutex::new(nodes)),
            answered: Arc::default(),
            failures: Arc::default(),
            is_over: Arc::default(),
            clients: Vec::new(),
        };
        load.clients = (0..CLIENTS).map(|client| runtime.spawn(load.asking(host, client))).collect();
        load
    }

    fn asking(&self, host: &'static str, client: usize) -> impl Future<Output = ()> + use<> {
        let (nodes, answered) = (Arc::clone(&self.nodes), Arc::clone(&self.answered));
        let (failures, is_over) = (Arc::clone(&self.failures), Arc::clone(&self.is_over));
        async move {
            for turn in client.. {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let node = {
                    let nodes = nodes.lock().unwrap();
                    nodes[turn % nodes.len()]
                };
                match get_at(node, host, "/").await {
                    Ok(answer) if answer.status == 200 => {}
                    Ok(answer) => failures.lock().unwrap().push(format!("{node}: {answer:?}")),
                    Err(error) => failures.lock().unwrap().push(format!("{node}: {error:#}")),
                }
                answered[client].fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// How many requests are over.
    pub fn answered(&self) -> usize {
        self.answered.iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }

    /// Waits until each client has begun another request, and ended it.
    pub fn until_each_has_asked_again(&self) {
        let counts = || self.answered.each_ref().map(|count| count.load(Ordering::SeqCst));
        let before = counts();
        let has_asked = || before.iter().zip(counts()).all(|(before, now)| now >= before + 2);
        until("each client has asked again", || Ok(has_asked().then_some(()))).unwrap();
    }

    /// How many requests were made, and what became of those that failed.
    pub fn end(self, runtime: &Runtime) -> (usize, Vec<String>) {
        self.is_over.store(true, Ordering::SeqCst);
        let answered = self.answered();
        self.clients.into_iter().for_each(|client| runtime.block_on(client).unwrap());
        let failures = std::mem::take(&mut *self.failures.lock().unwrap());
        (answered, failures)
    }
}
