//! The world: hosts on one thread, a network between them, and time, which passes in steps.
//!
//! In a step each host that runs has its turn. Then the world looks at what the masters agree on and what runs on nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::SignedDuration;
use tempfile::TempDir;
use wherry_base::Rng;
use wherry_pki::Authority;
use wherry_runtime::fake::FakeRuntime;
use wherry_store::{Leadership, Start, Store};

use crate::bug::Bug;
use crate::disk::Disk;
use crate::faults::{self, Fault};
use crate::feed::{self, Feed};
use crate::history::{End, History, Run};
use crate::net::{Host, Net, Port, up_to};
use crate::process::{Pace, Process};
use crate::record::Recorder;
use crate::{master, node, user};

/// How far the hosts' clocks run between two looks at each other.
pub const STEP: Duration = Duration::from_millis(5);

/// How long the cluster may take to form.
const FORMING_MOST: Duration = Duration::from_secs(60);

/// How wrong wall clocks are at the most.
const SKEW_MOST: Duration = Duration::from_millis(200);

/// A master whose power fails writes that long at the most.
const DYING_MOST: Duration = Duration::from_millis(300);

/// How large the world is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Masters.
    pub masters: usize,
    /// Nodes.
    pub nodes: usize,
}

impl Size {
    pub(crate) fn hosts(self) -> Vec<Host> {
        let masters = (0..self.masters).map(Host::Master);
        masters.chain((0..self.nodes).map(Host::Node)).chain([Host::User]).collect()
    }
}

/// How long there are troubles, and how long everything is well afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// With troubles.
    pub troubled: Duration,
    /// Without.
    pub sound: Duration,
}

/// What the people know of the plan: whether they are to leave things as they are.
#[derive(Clone, Default)]
pub struct Orders(Arc<AtomicBool>);

impl Orders {
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything there is.
pub struct World {
    size: Size,
    bug: Option<Bug>,
    now: Duration,
    rng: Rng,
    net: Net,
    authority: Arc<Authority>,
    hosts: BTreeMap<Host, Site>,
    feed: Feed,
    recorder: Recorder,
    orders: Orders,
    /// What runs, and since when.
    runs: BTreeMap<(Host, String), Duration>,
}

/// A host, whether it runs or not.
struct Site {
    process: Option<Process>,
    pace: Arc<Pace>,
    skew: SignedDuration,
    role: Role,
}

enum Role {
    Master(MasterSite),
    Node { data: TempDir, runtime: Arc<FakeRuntime> },
    User,
}

struct MasterSite {
    disk: Disk,
    store: Option<Store>,
    dies_at: Option<Duration>,
    /// It takes the place of one whose disk is lost.
    is_successor: bool,
}

impl World {
    /// A world in which nothing runs yet.
    pub fn new(seed: u64, size: Size, bug: Option<Bug>, authority: Arc<Authority>) -> anyhow::Result<Self> {
        let rng = Rng::seeded(seed);
        let mut hosts = BTreeMap::new();
        for host in size.hosts() {
            let role = match host {
                Host::Master(_) => {
                    let disk = if bug == Some(Bug::LyingDisk) { Disk::lying() } else { Disk::default() };
                    Role::Master(MasterSite { disk, store: None, dies_at: None, is_successor: false })
                }
                Host::Node(_) => Role::Node { data: tempfile::tempdir()?, runtime: FakeRuntime::new() },
                Host::User => Role::User,
            };
            let skew = SignedDuration::try_from(up_to(&rng, SKEW_MOST))?;
            hosts.insert(host, Site { process: None, pace: Pace::new(rng.next()), skew, role });
        }
        Ok(Self {
            size,
            bug,
            now: Duration::ZERO,
            net: Net::new(rng.next()),
            rng,
            authority,
            hosts,
            feed: Feed::default(),
            recorder: Recorder::default(),
            orders: Orders::default(),
            runs: BTreeMap::new(),
        })
    }

    /// Lives through everything; what happened.
    pub fn run(mut self, spans: Spans) -> anyhow::Result<History> {
        self.form()?;
        let (from, until) = (self.now, self.now + spans.troubled);
        for (at, fault) in faults::plan(&self.rng, self.size, from, until) {
            self.pass_until(at)?;
            self.recorder.note(|history| history.faults.push((at, fault.to_string())));
            self.suffer(fault)?;
        }
        self.pass_until(until)?;
        self.orders.0.store(true, Ordering::Relaxed);
        self.pass_until(until + spans.sound)?;
        self.end(until)
    }

    /// Starts everything, and waits until the masters are one cluster.
    fn form(&mut self) -> anyhow::Result<()> {
        for host in self.size.hosts() {
            self.start(host, if host == Host::Master(0) { Start::Found } else { Start::Join })?;
        }
        let mut stores = self.stores();
        let founder = stores.remove(0);
        let process = self.site(Host::Master(0))?.process.as_ref().context("the first master does not run")?;
        master::form(process, founder.clone(), stores.iter().map(Store::me).collect());
        while founder.members().borrow().len() < self.size.masters {
            if self.now > FORMING_MOST {
                bail!("the masters did not find together");
            }
            self.step()?;
        }
        Ok(())
    }

    fn start(&mut self, host: Host, start: Start) -> anyhow::Result<()> {
        let (now, net, recorder, orders) = (self.now, self.net.clone(), self.recorder.clone(), self.orders.clone());
        let (size, bug, authority) = (self.size, self.bug, Arc::clone(&self.authority));
        let site = self.site(host)?;
        let process = Process::start(now, site.skew, Arc::clone(&site.pace))?;
        let mut port = Port { net, host, times: process.times, disk: None };
        match &mut site.role {
            Role::Master(master) => {
                port.disk = Some(master.disk.clone());
                let letters = port.net.plug(host);
                let disk = master.disk.clone();
                let parts = master::Parts { port: port.clone(), letters, disk, start, authority, bug };
                let store = master::start(&process, parts)?;
                if master.is_successor {
                    master::ask_for_place(&process, &port, size.masters, &store);
                }
                master.store = Some(store);
            }
            Role::Node { data, runtime } => {
                let Host::Node(number) = host else { bail!("{host} is no node") };
                let (data, runtime) = (data.path().to_owned(), Arc::clone(runtime));
                node::start(&process, node::Parts { port, number, masters: size.masters, data, runtime, bug });
            }
            Role::User => user::start(&process, &port, &recorder, &orders, size, bug),
        }
        site.process = Some(process);
        Ok(())
    }

    fn site(&mut self, host: Host) -> anyhow::Result<&mut Site> {
        self.hosts.get_mut(&host).with_context(|| format!("there is no host {host}"))
    }

    /// The stores of the masters that run.
    fn stores(&self) -> Vec<Store> {
        let store = |site: &Site| match &site.role {
            Role::Master(master) => master.store.clone(),
            _ => None,
        };
        self.hosts.values().filter_map(store).collect()
    }

    fn pass_until(&mut self, moment: Duration) -> anyhow::Result<()> {
        while self.now < moment {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> anyhow::Result<()> {
        self.now += STEP;
        for process in self.hosts.values().filter_map(|site| site.process.as_ref()) {
            process.run_until(self.now);
        }
        // Before the dead are buried: one may have answered in this very step.
        let read = self.feed.read(&self.stores(), self.now, &self.recorder);
        read.map_err(anyhow::Error::msg)?;
        self.bury()?;
        self.look_at_nodes();
        Ok(())
    }

    fn suffer(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Crash(host, operations) => self.crash(host, operations)?,
            Fault::Start(host) => self.start_again(host, false)?,
            Fault::Replace(host) => self.start_again(host, true)?,
            Fault::HandOver(host) => {
                if let Site {
                    role: Role::Master(MasterSite { store: Some(store), .. }), process: Some(process), ..
                } = self.site(host)?
                {
                    master::hand_over(process, store.clone());
                }
            }
            Fault::Pause(host) => {
                if let Some(process) = &mut self.site(host)?.process {
                    process.is_paused = true;
                }
            }
            Fault::Resume(host) => {
                let now = self.now;
                if let Some(process) = &mut self.site(host)?.process {
                    process.resume(now);
                }
            }
            Fault::Cut(pairs) => pairs.iter().for_each(|(from, to)| self.net.cut(*from, *to)),
            Fault::Mend(pairs) => pairs.iter().for_each(|(from, to)| self.net.mend(*from, *to)),
            Fault::Lose(percent) => self.net.lose(percent),
            Fault::Slow(most) => self.net.slow(most),
            Fault::SlowDisk(host, most) => self.site(host)?.pace.set(most),
        }
        Ok(())
    }

    fn crash(&mut self, host: Host, operations: usize) -> anyhow::Result<()> {
        let dies_at = self.now + DYING_MOST;
        let site = self.site(host)?;
        match &mut site.role {
            Role::Master(master) => {
                master.disk.die_after(operations);
                master.dies_at = Some(dies_at);
            }
            Role::Node { runtime, .. } => {
                site.process = None;
                // The machine's, with all that ran on it.
                *runtime = FakeRuntime::new();
            }
            Role::User => {}
        }
        Ok(())
    }

    /// Masters whose disks are dead are.
    fn bury(&mut self) -> anyhow::Result<()> {
        for host in self.size.hosts() {
            self.bury_if_dead(host)?;
        }
        Ok(())
    }

    fn bury_if_dead(&mut self, host: Host) -> anyhow::Result<()> {
        let (now, seed) = (self.now, self.rng.next());
        let Site { process, role, .. } = self.site(host)?;
        let Role::Master(master) = role else { return Ok(()) };
        if master.dies_at.is_some_and(|moment| moment <= now) {
            master.disk.die_after(0);
        }
        if master.disk.is_dead() {
            master.dies_at = None;
            let image = master.disk.after_power_failure(&Rng::seeded(seed));
            (master.store, *process) = (None, None);
            master.disk = image;
        }
        Ok(())
    }

    fn start_again(&mut self, host: Host, has_lost_disk: bool) -> anyhow::Result<()> {
        let site = self.site(host)?;
        if let (Role::Master(master), Some(_)) = (&site.role, &site.process) {
            // It took its time to die.
            master.disk.die_after(0);
        }
        self.bury_if_dead(host)?;
        if let Role::Master(master) = &mut self.site(host)?.role
            && has_lost_disk
        {
            (master.disk, master.is_successor) = (Disk::default(), true);
        }
        self.start(host, Start::Join)
    }

    /// Writes down what began or ended to run. What is on a host that stands still does not.
    fn look_at_nodes(&mut self) {
        let running = |(host, site): (&Host, &Site)| match (&site.role, &site.process) {
            (Role::Node { runtime, .. }, Some(process)) if !process.is_paused => {
                runtime.running().into_iter().map(|uid| (*host, uid)).collect()
            }
            _ => Vec::new(),
        };
        let present: BTreeSet<_> = self.hosts.iter().flat_map(running).collect();
        let ended: Vec<_> = self.runs.keys().filter(|run| !present.contains(*run)).cloned().collect();
        for (host, uid) in ended {
            let Some(from) = self.runs.remove(&(host, uid.clone())) else { continue };
            let run = Run { node: host.to_string(), uid, from, until: Some(self.now) };
            self.recorder.note(|history| history.runs.push(run));
        }
        for run in present {
            self.runs.entry(run).or_insert(self.now);
        }
    }

    /// The history, closed.
    fn end(self, sound_since: Duration) -> anyhow::Result<History> {
        let leads = |store: &&Store| *store.leadership().borrow() == Leadership::Leader;
        let stores = self.stores();
        let leader = stores.iter().find(leads).context("nobody leads at the end")?;
        let workloads = feed::workloads(leader);
        let open = self.runs.iter().map(|((host, uid), from)| Run {
            node: host.to_string(),
            uid: uid.clone(),
            from: *from,
            until: None,
        });
        self.recorder.note(|history| {
            history.runs.extend(open);
            history.end = End { at: self.now, sound_since, workloads };
        });
        Ok(self.recorder.finish())
    }
}
