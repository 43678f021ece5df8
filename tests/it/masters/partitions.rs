//! Cables that are pulled: three masters and two nodes with a network each, of which one hears the others no more.
//!
//! A switch joins all of them, and another one the nodes, so that a node that no master hears has a way to the other node.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_api::kinds::{ConfigMap, Node, ObjectMeta, Pod};
use wherry_api::{Error, Reason};
use wherry_client::{Client, Kubeconfig, ListOptions};
use wherry_tests::{Cluster, Host, Lan, Machine, get_at, is_ready, until};

use super::group::{Group, start_at};
use super::none_lost;
use crate::commands::verb;
use crate::objects::endpoints_ready;

/// The switch that all are at, and that of the nodes.
const ALL: u8 = 0;
const NODES: u8 = 1;

/// A node is silent for 4 s before its pods are given to others, 1 s later: the machine is busy with all five.
const FLAGS: [&str; 4] = ["--node-monitor-grace-period", "4s", "--default-unreachable-toleration-seconds", "1"];

struct World<'a> {
    lan: &'a Lan,
    group: Group,
    /// The masters' machines.
    places: Vec<Host>,
    nodes: Vec<(Host, Machine)>,
}

#[test]
fn who_is_cut_off_neither_answers_from_the_past_nor_runs_what_others_were_given() {
    let Some(lan) = Lan::new("partitions", 2) else { return };
    lan.within(|| {
        let world = World::start(&lan);
        let before = world.ticker();
        world.all_serve();
        world.leader_is_cut_off();
        assert_eq!(world.ticker(), before, "no node was silent");
        world.all_serve();
        world.node_is_cut_off(&before);
    });
}

impl<'a> World<'a> {
    fn start(lan: &'a Lan) -> Self {
        let places: Vec<Host> = (11..14).map(|number| lan.host(number, &[ALL]).unwrap()).collect();
        let masters = vec![master(&places[0], "a", &[])];
        let mut group = Group { masters, runtime: Runtime::new().unwrap() };
        for (place, name) in places.iter().zip(["a", "b", "c"]).skip(1) {
            group.admit(0, |invitation| master(place, name, invitation));
        }
        let token = verb(&group.masters[0], "token create");
        let node = |(number, name): (u8, &str)| {
            let host = lan.host(number, &[ALL, NODES]).unwrap();
            let address = host.address(NODES);
            let machine = host.within(|| Machine::join(&group.masters[0], name, &address, &token, &[]).unwrap());
            (host, machine)
        };
        let nodes = [(21, "n1"), (22, "n2")].map(node).into();
        for guest in ["hello-http", "echo-tcp", "call-service"] {
            group.masters[0].load_guest(guest).unwrap();
        }
        group.masters[0].apply("default", include_str!("partitions/pods.yaml")).unwrap();
        endpoints_ready(&group.masters[0], "default", "web", 2);
        Self { lan, group, places, nodes }
    }

    /// The others go on. It knows that it cannot know what is true now, and shows no more than what was.
    fn leader_is_cut_off(&self) {
        let group = &self.group;
        let mut writer = group.writer("w");
        let mut acked = writer.until_after(Instant::now());
        let leader = group.leader();
        let past = self.pods_at(&group.masters[leader]);
        self.lan.cut(&self.places[leader], ALL).unwrap();
        let cut = Instant::now();
        let over_the_cut = writer.until_after(cut);
        let first = over_the_cut.iter().map(|ack| ack.done).filter(|done| *done >= cut).min().unwrap();
        println!("a write {:?} after the leader was cut off", first - cut);
        acked.extend(over_the_cut);
        let newest = acked.last().unwrap();
        self.places[leader].within(|| self.asked_alone(leader, &newest.name, &past));
        acked.extend(writer.until_after(Instant::now()));
        self.lan.mend(&self.places[leader], ALL).unwrap();
        acked.extend(writer.until_after(Instant::now()));
        acked.extend(writer.end(&group.runtime));
        none_lost(group, &acked);
        println!("{} writes acknowledged, none lost", acked.len());
    }

    /// A revision, as a list tells it.
    fn pods_at(&self, master: &Cluster) -> String {
        let pods = master.client().unwrap().namespaced::<Pod>("default");
        self.group.runtime.block_on(pods.list(ListOptions::default())).unwrap().resource_version
    }

    /// What a master answers who hears no other, to somebody on its own machine.
    fn asked_alone(&self, place: usize, newest: &str, past: &str) {
        let client = own(&self.group.masters[place]);
        let maps = client.namespaced::<ConfigMap>("default");
        let metadata = ObjectMeta { name: Some("alone".into()), ..ObjectMeta::default() };
        let map = ConfigMap { metadata, ..ConfigMap::default() };
        let then = ListOptions { exactly: past.parse().ok().map(wherry_api::Revision), ..ListOptions::default() };
        let pods = client.namespaced::<Pod>("default");
        let (read, written, listed) = Runtime::new()
            .unwrap()
            .block_on(async { tokio::join!(maps.get(newest), maps.create(&map), pods.list(then)) });
        let cannot = |error: &Error| matches!(error.reason, Reason::ServiceUnavailable | Reason::Timeout);
        assert!(read.as_ref().is_err_and(cannot), "{read:?}");
        assert!(written.as_ref().is_err_and(cannot), "{written:?}");
        assert_eq!(listed.unwrap().resource_version, past, "what was, it can tell");
    }

    /// It stops what others may be given, before they are, though it could reach them. Then it comes back.
    fn node_is_cut_off(&self, (pod, name): &(String, String)) {
        let lost = usize::from(name == "n2");
        let ((host, machine), (_, other)) = (&self.nodes[lost], &self.nodes[1 - lost]);
        self.lan.cut(host, ALL).unwrap();
        let cut = Instant::now();
        let (successor, at) =
            until("the pod is replaced", || Ok(Some(self.ticker()).filter(|(successor, _)| successor != pod))).unwrap();
        println!("{pod} is replaced {:?} after {name} was cut off", cut.elapsed());
        assert_ne!(&at, name);
        let began = until("the new one writes", || Ok(ticks(other, &successor).first().copied())).unwrap();
        let ended = *ticks(machine, pod).last().unwrap();
        println!("the old one wrote for the last time {} before the new one began", began.duration_since(ended));
        assert!(ended < began, "both ran: {ended} is not before {began}");
        // What stays serves those who ask its own node; the other node lets in nobody whom the masters do not hear.
        let answering = self.answering(machine);
        assert_eq!(answering, BTreeSet::from([format!("web-{name}")]), "{}", machine.errors());
        assert_eq!(self.answering(other), BTreeSet::from([format!("web-{at}")]));

        self.lan.mend(host, ALL).unwrap();
        let mended = Instant::now();
        endpoints_ready(&self.group.masters[0], "default", "web", 2);
        until("the node has no taints", || Ok(self.taints(name).is_empty().then_some(()))).unwrap();
        until("nothing is left of the old pod there", || Ok(log(machine, pod).is_none().then_some(()))).unwrap();
        println!("back {:?} after it was mended", mended.elapsed());
        assert_eq!(self.ticker(), (successor, at));
        self.all_serve();
    }

    /// Both pods answer at both nodes.
    fn all_serve(&self) {
        for (_, machine) in &self.nodes {
            until("both pods serve", || Ok((self.answering(machine).len() == 2).then_some(()))).unwrap();
        }
    }

    /// The pod that ticks, and its node.
    fn ticker(&self) -> (String, String) {
        let api = self.group.masters[0].client().unwrap().namespaced::<Pod>("default");
        let options = ListOptions { labels: "app=ticker".into(), ..ListOptions::default() };
        until("a pod ticks", || {
            let list = self.group.runtime.block_on(api.list(options.clone()))?;
            let stays = |pod: &Pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
            let mut running = list.items.into_iter().filter(stays);
            Ok(running.next().and_then(|pod| Some((pod.metadata.name?, pod.spec?.node_name?))))
        })
        .unwrap()
    }

    fn taints(&self, node: &str) -> Vec<String> {
        let api = self.group.masters[0].client().unwrap().all::<Node>();
        let spec = self.group.runtime.block_on(api.get(node)).unwrap().spec.unwrap_or_default();
        spec.taints.unwrap_or_default().into_iter().map(|taint| taint.key).collect()
    }

    /// The pods that answer at a node's ingress.
    fn answering(&self, machine: &Machine) -> BTreeSet<String> {
        let address = machine.ingress().unwrap();
        let ask = || self.group.runtime.block_on(get_at(address, "web.example", "/")).unwrap();
        let name = |body: &str| ["web-n1", "web-n2"].into_iter().find(|name| body.contains(name));
        (0..8).map(|_| ask().body).map(|body| name(&body).unwrap_or(&body).to_owned()).collect()
    }
}

/// A master on a machine of its own.
fn master(place: &Host, name: &str, more: &[&str]) -> Cluster {
    place.within(|| start_at(name, &place.address(ALL), &[&FLAGS, more].concat()))
}

/// A client that knows this master only.
fn own(master: &Cluster) -> Client {
    let mut kubeconfig = Kubeconfig::load(&master.kubeconfig()).unwrap();
    kubeconfig.servers.truncate(1);
    Client::from_kubeconfig(&kubeconfig).unwrap()
}

/// When a pod wrote, as long as its node has its log.
fn ticks(machine: &Machine, pod: &str) -> Vec<Timestamp> {
    let text = log(machine, pod).unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains(" stdout F tick "));
    lines.filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
}

fn log(machine: &Machine, pod: &str) -> Option<String> {
    let folders = std::fs::read_dir(machine.data().join("node/logs")).unwrap().flatten();
    let prefix = format!("default_{pod}_");
    let folder = folders.into_iter().find(|folder| folder.file_name().to_string_lossy().starts_with(&prefix))?;
    let mut files: Vec<_> = std::fs::read_dir(folder.path().join("tick")).ok()?.flatten().map(|f| f.path()).collect();
    files.sort();
    Some(files.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect())
}
