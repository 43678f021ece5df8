//! The plain way, to compare with: every pod asks every node at its turn. Nothing is remembered but what the first of
//! the pods that ask the same was told, where no node took it: all others are told the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use wherry_api::ObjectKey;

use super::{cluster, shown};
use crate::{Binding, Node, Placements, Pod, Resources, Snapshot, Unplaceable, place, reason, score};

fn place_plainly(snapshot: &Snapshot, pods: &[Pod]) -> Placements {
    let (mut snapshot, mut placements) = (snapshot.clone(), Placements::default());
    let mut told = HashMap::new();
    let mut turns: Vec<&Pod> = pods.iter().collect();
    turns.sort_by_key(|pod| Reverse(pod.priority));
    for pod in turns {
        match best_of_all(&snapshot, pod) {
            Ok(node) => {
                snapshot.set_pod(&pod.key, &node, pod.requests, pod.owner.clone());
                placements.bindings.push(Binding { pod: pod.key.clone(), node });
            }
            Err(why) => {
                let why = told.entry((&pod.rules, pod.requests)).or_insert_with(|| why.into());
                placements.unplaceable.push(Unplaceable { pod: pod.key.clone(), why: Arc::clone(why) });
            }
        }
    }
    placements
}

fn best_of_all(snapshot: &Snapshot, pod: &Pod) -> Result<Arc<str>, String> {
    let (mut best, mut reasons) = (None, BTreeMap::<String, usize>::new());
    for (name, node, used) in snapshot.nodes() {
        let free = node.allocatable.minus(used);
        let unfit = reason::unfit(&pod.rules, node);
        let short = reason::shortages(pod.requests, free).filter(|_| unfit.is_none());
        let why: Vec<String> = unfit.into_iter().chain(short).map(|reason| reason.to_string()).collect();
        if why.is_empty() {
            let owner = pod.owner.as_deref().unwrap_or("nobody");
            let same = snapshot.nodes_of(owner).find(|(node, _)| **node == **name).map_or(0, |(_, count)| count);
            let score = score::fixed(&pod.rules, node) + score::emptiness(node.allocatable, free, pod.requests)
                - score::crowding(same);
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, Arc::clone(name)));
            }
        }
        why.into_iter().for_each(|why| *reasons.entry(why).or_default() += 1);
    }
    let Some((_, name)) = best else {
        let total = snapshot.nodes().count();
        let mut parts: Vec<String> = reasons.into_iter().map(|(why, count)| format!("{count} {why}")).collect();
        parts.sort();
        return Err(match total {
            0 => "no nodes available to schedule pods".to_owned(),
            _ => format!("0/{total} nodes are available: {}.", parts.join(", ")),
        });
    };
    Ok(name)
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(words)
}

/// Nodes of every sort, pods on them, and pods that ask for every sort of thing, many of them alike.
fn any_cluster() -> impl Strategy<Value = String> {
    let traits = word(&["", "", "", "cordoned", "taint=gpu:NoSchedule", "taint=slow:PreferNoSchedule", "cores:8"]);
    let node = (word(&["300", "1000", "1000", "2000"]), 0..9_u8, 0..3_u8, traits);
    let owner = word(&["", "owner=a", "owner=b", "owner=c"]);
    let settled = (0..12_u8, 0..300_i64, owner.clone());
    let rule = word(&[
        "",
        "",
        "bear=gpu",
        "bear=slow",
        "select=zone:1",
        "want=zone:!0",
        "want=cores:>4",
        "like=zone:2",
        "name=n03",
        "bear=node.kubernetes.io/unschedulable",
    ]);
    let group = (1..12_u8, word(&["0", "40", "200", "900"]), owner, rule, 0..2_u8);
    let nodes = prop::collection::vec(node, 0..12);
    (nodes, prop::collection::vec(settled, 0..20), prop::collection::vec(group, 0..16)).prop_map(|(nodes, on, pods)| {
        let nodes = nodes.iter().enumerate().map(|(i, (cpu, most, zone, rest))| {
            format!("node n{i:02} cpu={cpu} mem=1000 pods={most} zone:{zone} {rest}\n")
        });
        let on = on.iter().enumerate().map(|(i, (node, cpu, owner))| format!("on n{node:02} s{i} cpu={cpu} {owner}\n"));
        let pods = pods.iter().enumerate().map(|(i, (many, cpu, owner, rule, priority))| {
            format!("pod p{i} *{many} cpu={cpu} mem=10 {owner} priority={priority} {rule}\n")
        });
        nodes.chain(on).chain(pods).collect()
    })
}

/// A change of the snapshot: what, which node, which pod.
fn any_event() -> impl Strategy<Value = (u8, u8, u8)> {
    (0..4_u8, 0..4_u8, 0..6_u8)
}

proptest! {
    #[test]
    fn decides_as_the_plain_way_does(text in any_cluster(), seed in any::<u64>()) {
        let (snapshot, mut pods) = cluster(&text);
        // Pods that are alike come together, and also apart.
        if seed % 2 == 1 {
            pods.sort_by_key(|pod| pod.key.name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31) + u64::from(byte)));
        }
        prop_assert_eq!(shown(&place(&snapshot, &pods)), shown(&place_plainly(&snapshot, &pods)));
    }

    #[test]
    fn the_snapshot_counts_what_there_is(events in prop::collection::vec(any_event(), 0..60)) {
        let mut snapshot = Snapshot::default();
        let (mut nodes, mut pods) = (BTreeMap::new(), BTreeMap::new());
        let requests = Resources { cpu_milli: 3, memory_bytes: 5, pods: 1 };
        for (what, node, pod) in events {
            let (name, key) = (format!("n{node}"), ObjectKey::new("", &format!("p{pod}")));
            let owner = (pod < 4).then(|| Arc::from(if pod < 2 { "a" } else { "b" }));
            match what {
                0 => {
                    snapshot.set_node(Node { name: name.as_str().into(), ..Node::default() });
                    nodes.insert(name, ());
                }
                1 => {
                    snapshot.remove_node(&name);
                    nodes.remove(&name);
                }
                2 => {
                    snapshot.set_pod(&key, &name, requests, owner);
                    pods.insert(key, (name, pod));
                }
                _ => prop_assert_eq!(snapshot.remove_pod(&key), pods.remove(&key).is_some()),
            }
            let seen = snapshot.nodes().map(|(name, _, used)| (name.to_string(), used.cpu_milli));
            let on = |name: &str| pods.values().filter(|(node, _)| *node == name).count() as i64;
            let there = nodes.keys().map(|name| (name.clone(), 3 * on(name)));
            prop_assert_eq!(seen.collect::<Vec<_>>(), there.collect::<Vec<_>>());
            let mut of_a = BTreeMap::<&str, i32>::new();
            pods.values().filter(|(_, pod)| *pod < 2).for_each(|(node, _)| *of_a.entry(node).or_default() += 1);
            prop_assert_eq!(snapshot.nodes_of("a").collect::<Vec<_>>(), of_a.into_iter().collect::<Vec<_>>());
        }
    }
}
