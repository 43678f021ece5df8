//! Sandboxes and nodes are killed at random, while another namespace is asked and objects are written.
//!
//! What must hold: the other namespace answers every request that no kill of the node broke, an object that was
//! acknowledged is there, and all pods are ready in the end. `WHERRY_FAULT_MINUTES` asks for a long run,
//! `WHERRY_FAULT_SEED` for the choices of an earlier one.

use std::collections::BTreeSet;
use std::env::var;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_api::kinds::{ConfigMap, Pod};
use wherry_base::Rng;
use wherry_client::{Client, ListOptions};
use wherry_tests::{Cluster, get, is_ready, until};

use crate::WHERRY;

/// Where no minutes are asked for: so many kills, of which the last is one of the node.
const KILLS: u32 = 8;
/// One of so many kills is one of the node.
const KILLS_PER_NODE: usize = 6;
/// Until the next kill, at most.
const MOMENT_MAX_MS: usize = 1_500;
/// The longest back-off of a container that crashes again and again, and the time to start it.
const BACK_MAX: Duration = Duration::from_secs(330);

const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(10);
/// Asked of a module that answers itself, and of one that asks the other by its name.
const PATHS: [&str; 2] = ["/", "/fetch/back:80"];
const STEADY: &str = "steady";
const SANDBOXES: &str = "node/sandboxes";

/// What the clients share with who kills.
#[derive(Default)]
struct Load {
    /// Odd while the node is down: what fails then, or across a change, is the node's kill's doing.
    era: AtomicU64,
    done: AtomicBool,
    asked: AtomicU64,
    broken: AtomicU64,
    failures: Mutex<Vec<String>>,
    acknowledged: Mutex<BTreeSet<String>>,
}

#[test]
fn kills_at_random_are_seen_by_nobody_else() {
    let seed = var("WHERRY_FAULT_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| Rng::from_entropy().next());
    let minutes: Option<u64> = var("WHERRY_FAULT_MINUTES").ok().and_then(|text| text.parse().ok());
    println!("WHERRY_FAULT_SEED={seed}");
    let (mut cluster, runtime) = (cluster(), Runtime::new().unwrap());
    let (rng, load) = (Rng::seeded(seed), Arc::new(Load::default()));
    let mut clients = clients(&cluster, &runtime, &load);
    let (began, mut sandboxes, mut nodes) = (Instant::now(), 0, 0);
    let goes_on = |kills| minutes.map_or(kills < KILLS, |minutes| began.elapsed().as_secs() < minutes * 60);
    while goes_on(sandboxes + nodes) {
        // The moment differs and needs no accuracy.
        std::thread::sleep(Duration::from_millis(rng.below(MOMENT_MAX_MS) as u64));
        if minutes.is_none() && sandboxes + nodes + 1 == KILLS || rng.below(KILLS_PER_NODE) == 0 {
            load.era.fetch_add(1, Ordering::SeqCst);
            cluster.kill().unwrap();
            clients.drain(..).for_each(|client| runtime.block_on(client).unwrap());
            cluster.restart().unwrap();
            await_steady(&cluster, &runtime);
            load.era.fetch_add(1, Ordering::SeqCst);
            clients = self::clients(&cluster, &runtime, &load);
            nodes += 1;
        } else if kill_a_sandbox(&cluster, &rng) {
            sandboxes += 1;
        }
        let failures = load.failures.lock().unwrap();
        assert!(failures.is_empty(), "{failures:?}\n{}", cluster.errors());
    }
    load.done.store(true, Ordering::SeqCst);
    clients.drain(..).for_each(|client| runtime.block_on(client).unwrap());
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let (asked, broken) = (count(&load.asked), count(&load.broken));
    let (failures, acknowledged) = (load.failures.lock().unwrap(), load.acknowledged.lock().unwrap());
    println!(
        "{:?}: killed {sandboxes} sandboxes and {nodes} nodes; of {asked} requests the nodes' kills broke {broken}, \
         {} others failed; {} objects acknowledged",
        began.elapsed(),
        failures.len(),
        acknowledged.len(),
    );
    assert!(failures.is_empty(), "{failures:?}");
    let stored = runtime.block_on(names(&cluster.client().unwrap()));
    assert!(!acknowledged.is_empty() && acknowledged.is_subset(&stored), "{:?}", acknowledged.difference(&stored));
    assert_eq!(await_all_ready(&cluster, &runtime), 0, "restarts in {STEADY}, whose sandbox outlives the node");
    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
}

/// Pods of each kind in namespaces whose sandboxes are killed, and two web servers in one whose are not.
fn cluster() -> Cluster {
    let cluster = Cluster::start(WHERRY).unwrap();
    for guest in ["hello-http", "echo-tcp"] {
        cluster.load_guest(guest).unwrap();
    }
    for namespace in ["victim-a", "victim-b", "victim-c"] {
        cluster.apply(namespace, include_str!("faults/victim.yaml")).unwrap();
    }
    cluster.apply(STEADY, include_str!("faults/steady.yaml")).unwrap();
    let runtime = Runtime::new().unwrap();
    await_steady(&cluster, &runtime);
    await_all_ready(&cluster, &runtime);
    cluster
}

fn clients(cluster: &Cluster, runtime: &Runtime, load: &Arc<Load>) -> Vec<tokio::task::JoinHandle<()>> {
    let (port, client) = (cluster.ports().unwrap().http, cluster.client().unwrap());
    let mut clients = vec![runtime.spawn(write(client, Arc::clone(load)))];
    let asking = PATHS.iter().cycle().take(CLIENTS).map(|path| runtime.spawn(ask(port, path, Arc::clone(load))));
    clients.extend(asking);
    clients
}

/// Asks until the node is killed.
async fn ask(port: u16, path: &str, load: Arc<Load>) {
    let era = load.era.load(Ordering::SeqCst);
    while !load.is_over(era) {
        load.asked.fetch_add(1, Ordering::SeqCst);
        let failed = match get(port, "steady.example", path).await {
            Ok(answer) if answer.status == 200 && answer.body.contains("Hello from") => None,
            Ok(answer) => Some(format!("{path}: {} {}", answer.status, answer.body)),
            Err(error) => Some(format!("{path}: {error:#}")),
        };
        load.judge(era, failed);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Writes until the node is killed.
async fn write(client: Client, load: Arc<Load>) {
    let api = client.namespaced::<ConfigMap>(STEADY);
    let era = load.era.load(Ordering::SeqCst);
    let mut number = 0;
    while !load.is_over(era) {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(format!("written-{era}-{number}"));
        number += 1;
        match api.create(&map).await {
            Ok(map) => load.acknowledged.lock().unwrap().extend(map.metadata.name),
            Err(error) => load.judge(era, Some(format!("create: {error}"))),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Load {
    fn is_over(&self, era: u64) -> bool {
        self.done.load(Ordering::SeqCst) || self.era.load(Ordering::SeqCst) != era
    }

    fn judge(&self, era: u64, failed: Option<String>) {
        let Some(failed) = failed else { return };
        if self.era.load(Ordering::SeqCst) == era {
            self.failures.lock().unwrap().push(failed);
        } else {
            self.broken.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Kills one that is not the steady namespace's, if there is one now.
fn kill_a_sandbox(cluster: &Cluster, rng: &Rng) -> bool {
    let notes = fs::read_dir(cluster.data().join(SANDBOXES)).unwrap().map(|entry| entry.unwrap().path());
    let is_victim = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".pid") && name != format!("namespace-{STEADY}.pid").as_str()
    };
    let mut victims: Vec<PathBuf> = notes.filter(is_victim).collect();
    victims.sort();
    let Some(victim) = victims.get(rng.below(victims.len())) else { return false };
    let note = fs::read_to_string(victim).unwrap_or_default();
    let mut words = note.split_whitespace();
    let (Some(pid), Some(born)) = (words.next().and_then(|pid| pid.parse().ok()), words.next()) else { return false };
    let Ok(process) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else { return false };
    // The note may be one of a sandbox that is gone, and the number another process's by now.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_it = stat.rsplit_once(')').and_then(|(_, facts)| facts.split_whitespace().nth(19)) == Some(born);
    is_it && pidfd_send_signal(process, Signal::KILL).is_ok()
}

fn await_steady(cluster: &Cluster, runtime: &Runtime) {
    for path in PATHS {
        until(&format!("{STEADY} answers {path}"), || {
            let answer = runtime.block_on(get(cluster.ports()?.http, "steady.example", path))?;
            Ok((answer.status == 200 && answer.body.contains("Hello from")).then_some(()))
        })
        .unwrap();
    }
}

/// Waits until all pods are ready, and as long as their back-off lasts; how often the steady ones have restarted.
fn await_all_ready(cluster: &Cluster, runtime: &Runtime) -> u32 {
    let api = cluster.client().unwrap().all::<Pod>();
    let end = Instant::now() + BACK_MAX;
    loop {
        let pods = runtime.block_on(api.list(ListOptions::default())).unwrap().items;
        let unready: Vec<&Pod> = pods.iter().filter(|pod| !is_ready(pod)).collect();
        if unready.is_empty() {
            let steady = pods.iter().filter(|pod| pod.metadata.namespace.as_deref() == Some(STEADY));
            return steady.map(restarts).sum();
        }
        assert!(Instant::now() < end, "not back: {unready:?}\n{}", cluster.errors());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn restarts(pod: &Pod) -> u32 {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers.map(|container| u32::try_from(container.restart_count).unwrap_or(0)).sum()
}

async fn names(client: &Client) -> BTreeSet<String> {
    let list = client.namespaced::<ConfigMap>(STEADY).list(ListOptions::default()).await.unwrap();
    list.items.into_iter().filter_map(|map| map.metadata.name).collect()
}
