//! Several members in one process: on one thread, with paused time, over a network and disks that fail when told to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wherry_base::Rng;

use super::disk::Disk;
use crate::{Leadership, Limits, Member, Seat, Start, Store, Transport, TransportError};

/// Carries messages between the stores that are open. Clones share it.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

struct Inner {
    /// By address, with whether it lives: a crashed one may not have ended yet, but is not heard any more.
    stores: Mutex<HashMap<String, (Store, Arc<AtomicBool>)>>,
    /// Addresses between which nothing passes.
    cut: Mutex<HashSet<(String, String)>>,
    rng: Rng,
    /// Of a hundred messages, how many are lost, and how many of the answers.
    lost_percent: Mutex<usize>,
}

/// One member's end of the network.
struct Wire {
    net: Net,
    from: String,
    lives: Arc<AtomicBool>,
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, to: &Member, message: Bytes) -> Result<Bytes, TransportError> {
        let lost = || TransportError("lost".into());
        self.pass(to).await?;
        let target = self.net.inner.stores.lock().unwrap().get(&to.address).cloned();
        let (store, lives) = target.ok_or_else(lost)?;
        let answer = store.receive(message).await;
        drop(store);
        self.pass(to).await?;
        if lives.load(Ordering::SeqCst) { Ok(answer) } else { Err(lost()) }
    }
}

impl Wire {
    /// One way between two members: it takes a while, and may lead nowhere.
    async fn pass(&self, to: &Member) -> Result<(), TransportError> {
        let net = &self.net.inner;
        tokio::time::sleep(Duration::from_micros(100 + net.rng.below(1000) as u64)).await;
        let is_lost = net.rng.below(100) < *net.lost_percent.lock().unwrap();
        if is_lost || self.net.is_cut(&self.from, &to.address) || !self.lives.load(Ordering::SeqCst) {
            return Err(TransportError("lost".into()));
        }
        Ok(())
    }
}

impl Net {
    pub fn new(seed: u64) -> Self {
        let inner = Inner {
            stores: Mutex::default(),
            cut: Mutex::default(),
            rng: Rng::seeded(seed),
            lost_percent: Mutex::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    pub fn lose(&self, percent: usize) {
        *self.inner.lost_percent.lock().unwrap() = percent;
    }

    pub fn cut(&self, a: &str, b: &str) {
        self.inner.cut.lock().unwrap().extend([(a.into(), b.into()), (b.into(), a.into())]);
    }

    pub fn heal(&self) {
        self.inner.cut.lock().unwrap().clear();
        self.lose(0);
    }

    fn is_cut(&self, a: &str, b: &str) -> bool {
        self.inner.cut.lock().unwrap().contains(&(a.to_owned(), b.to_owned()))
    }

    fn seat(&self, name: &str, address: &str, start: Start, lives: Arc<AtomicBool>) -> Seat {
        let transport = Arc::new(Wire { net: self.clone(), from: address.into(), lives });
        let runtime = Some(tokio::runtime::Handle::current());
        Seat { name: name.into(), address: address.into(), transport, start, runtime }
    }
}

/// A cluster: members by name, their disks, and the network.
pub struct Cluster {
    pub net: Net,
    pub disks: BTreeMap<String, Disk>,
    pub stores: BTreeMap<String, Store>,
    pub limits: Limits,
}

impl Cluster {
    /// Members of these names; the first founds it, the others join.
    pub async fn of(seed: u64, names: &[&str]) -> Self {
        let limits = Limits { checkpoint_objects: 7, log_groups_kept: 50, ..Limits::default() };
        let mut cluster = Self { net: Net::new(seed), disks: BTreeMap::new(), stores: BTreeMap::new(), limits };
        for (place, name) in names.iter().enumerate() {
            cluster.start(name, if place == 0 { Start::Found } else { Start::Join });
            if place > 0 {
                let member = cluster.store(name).me();
                let leader = cluster.leader().await;
                leader.add_member(member).await.unwrap();
            }
        }
        cluster
    }

    /// Opens a member's store on its disk, at the address that is its name.
    pub fn start(&mut self, name: &str, start: Start) {
        self.start_at(name, name, start);
    }

    /// The same at another address.
    pub fn start_at(&mut self, name: &str, address: &str, start: Start) {
        let disk = self.disks.entry(name.into()).or_default().clone();
        let lives = Arc::new(AtomicBool::new(true));
        let seat = self.net.seat(name, address, start, Arc::clone(&lives));
        let store = Store::open_on(Arc::new(disk), self.limits.clone(), seat).unwrap();
        self.net.inner.stores.lock().unwrap().insert(address.into(), (store.clone(), lives));
        self.stores.insert(name.into(), store);
    }

    /// The power fails: of what was not synced, any part may be there when it comes back.
    pub fn crash(&mut self, name: &str) {
        if let Some((_, lives)) = self.net.inner.stores.lock().unwrap().remove(name) {
            lives.store(false, Ordering::SeqCst);
        }
        let disk = self.disks[name].after_power_failure(&self.net.inner.rng);
        // What runs yet writes to the disk that was.
        self.disks.insert(name.into(), disk);
        self.stores.remove(name);
    }

    pub fn store(&self, name: &str) -> Store {
        self.stores[name].clone()
    }

    /// The member that leads, once there is one.
    pub async fn leader(&self) -> Store {
        leader(&self.stores.values().cloned().collect::<Vec<_>>()).await
    }

    /// Nothing passes between that member, which leads, and the others, until one of them leads: that one.
    pub async fn depose(&self, old: &Store) -> Store {
        let others = self.others(old);
        others.iter().for_each(|other| self.net.cut(&old.me().name, &other.me().name));
        leader(&others).await
    }

    /// Members other than that one.
    pub fn others(&self, than: &Store) -> Vec<Store> {
        self.stores.values().filter(|store| store.me().id != than.me().id).cloned().collect()
    }

    pub async fn end(self) {
        for store in self.stores.values() {
            store.close().await;
        }
    }
}

async fn leader(among: &[Store]) -> Store {
    loop {
        let leads = |store: &&Store| *store.leadership().borrow() == Leadership::Leader;
        if let Some(store) = among.iter().find(leads) {
            return store.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
