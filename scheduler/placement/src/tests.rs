//! Clusters in a few lines of text, and the plans for them as text.
//!
//! A node: `node NAME cpu=MILLI mem=MIB pods=N LABEL:VALUE taint=KEY:EFFECT cordoned`. A pod that has a node:
//! `on NODE NAME …`; one that wants one: `pod NAME cpu= mem= owner= priority= want=LABEL:VALUE like=LABEL:VALUE
//! bear=KEY`, and `*N` for N of them.

mod plain;

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use wherry_api::selector::{Operator, Requirement};
use wherry_api::{ObjectKey, k8s_openapi};

use crate::{Effect, Node, Placements, Pod, Preference, Resources, Snapshot, Taint, Term, Toleration, place};

fn cluster(text: &str) -> (Snapshot, Vec<Pod>) {
    let (mut snapshot, mut pods) = (Snapshot::default(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["node", name, rest @ ..] => snapshot.set_node(node(name, rest)),
            ["on", node, name, rest @ ..] => {
                let pod = pod(name, rest);
                snapshot.set_pod(&pod.key, node, pod.requests, pod.owner);
            }
            ["pod", name, rest @ ..] => {
                let many = rest.iter().find_map(|word| word.strip_prefix('*')).map_or(1, |n| n.parse().unwrap());
                let name_of = |i| if many == 1 { (*name).to_owned() } else { format!("{name}-{i}") };
                pods.extend((0..many).map(|i| pod(&name_of(i), rest)));
            }
            other => panic!("{other:?}"),
        }
    }
    (snapshot, pods)
}

fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once(':').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

fn node(name: &str, words: &[&str]) -> Node {
    let allocatable = Resources { cpu_milli: 1000, memory_bytes: 1 << 30, pods: 110 };
    let mut node = Node { name: name.into(), allocatable, ..Node::default() };
    for word in words {
        match word.split_once('=') {
            Some(("cpu", n)) => node.allocatable.cpu_milli = n.parse().unwrap(),
            Some(("mem", n)) => node.allocatable.memory_bytes = n.parse::<i64>().unwrap() << 20,
            Some(("pods", n)) => node.allocatable.pods = n.parse().unwrap(),
            Some(("taint", taint)) => {
                let (key, effect) = pair(taint);
                node.taints.push(Taint { key, value: "v".into(), effect: Effect::parse(&effect).unwrap() });
            }
            None if *word == "cordoned" => node.unschedulable = true,
            _ => node.labels.extend([pair(word)]),
        }
    }
    node
}

fn pod(name: &str, words: &[&str]) -> Pod {
    let mut pod = Pod { key: ObjectKey::new("", name), ..Pod::default() };
    pod.requests.pods = 1;
    for (word, value) in words.iter().filter_map(|word| word.split_once('=')) {
        match word {
            "cpu" => pod.requests.cpu_milli = value.parse().unwrap(),
            "mem" => pod.requests.memory_bytes = value.parse::<i64>().unwrap() << 20,
            "owner" => pod.owner = Some(value.into()),
            "priority" => pod.priority = value.parse().unwrap(),
            "name" => pod.rules.node_name = Some(value.into()),
            "select" => pod.rules.node_selector.extend([pair(value)]),
            "want" => pod.rules.required.get_or_insert_default().push(term(value)),
            "like" => pod.rules.preferred.push(Preference { weight: 10, term: term(value) }),
            "bear" => {
                let toleration = Toleration { key: value.into(), ..Toleration::default() };
                pod.rules.tolerations.push(toleration);
            }
            other => panic!("{other}"),
        }
    }
    pod
}

fn term(text: &str) -> Term {
    let (key, value) = pair(text);
    let operator = match value.as_bytes() {
        [] => Operator::Exists,
        [b'!'] => Operator::DoesNotExist,
        [b'>', number @ ..] => Operator::GreaterThan(std::str::from_utf8(number).unwrap().parse().unwrap()),
        [b'!', _, ..] => Operator::NotIn(vec![value[1..].to_owned()]),
        _ => Operator::In(value.split('|').map(str::to_owned).collect()),
    };
    let requirement = vec![Requirement { key: key.clone(), operator }];
    if key == "metadata.name" {
        Term { fields: requirement, ..Term::default() }
    } else {
        Term { labels: requirement, ..Term::default() }
    }
}

fn plan(text: &str) -> String {
    let (snapshot, pods) = cluster(text);
    shown(&place(&snapshot, &pods))
}

fn shown(placements: &Placements) -> String {
    let bound = placements.bindings.iter().map(|b| format!("{} -> {}\n", b.pod, b.node));
    let unplaceable = placements.unplaceable.iter().map(|u| format!("{}: {}\n", u.pod, u.why));
    bound.chain(unplaceable).collect()
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&plan(text));
}

#[test]
fn spreads_and_prefers_what_is_empty() {
    check(
        "node a\nnode b\nnode c cpu=4000 mem=4096\npod w *4 cpu=100 owner=rs",
        expect![[r#"
            w-0 -> c
            w-1 -> a
            w-2 -> b
            w-3 -> c
        "#]],
    );
    check(
        "node a\nnode b\non a x cpu=500\npod y\npod z",
        expect![[r#"
        y -> b
        z -> b
    "#]],
    );
    check(
        "node a\nnode b\non a x owner=rs\non b y cpu=900 mem=900\npod z owner=rs",
        expect![[r#"
        z -> b
    "#]],
    );
}

#[test]
fn sums_up_why_nothing_fits() {
    check(
        "node a cpu=100\nnode b taint=gpu:NoSchedule\nnode c taint=gpu:NoExecute\npod x cpu=200",
        expect![[r#"
            x: 0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {gpu: v}.
        "#]],
    );
    check(
        "pod x",
        expect![[r#"
        x: no nodes available to schedule pods
    "#]],
    );
    check(
        "node a cordoned\nnode b cpu=1 mem=1\nnode c pods=0\nnode d zone:z\npod x cpu=2 mem=2 want=zone:y",
        expect![[r#"
            x: 0/4 nodes are available: 1 node(s) were unschedulable, 3 node(s) didn't match Pod's node affinity/selector.
        "#]],
    );
    check(
        "node a cpu=1 mem=1\nnode b pods=0\npod x cpu=2 mem=2",
        expect![[r#"
        x: 0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods.
    "#]],
    );
    check(
        "node a\npod x name=b",
        expect![[r#"
        x: 0/1 nodes are available: 1 node(s) didn't match the requested node name.
    "#]],
    );
}

#[test]
fn keeps_to_selectors_affinity_and_taints() {
    check(
        "node a zone:x\nnode b zone:y cores:8\nnode c taint=gpu:NoSchedule cordoned
         pod p1 select=zone:y\npod p2 want=zone:!x want=zone:z\npod p3 want=cores:>4\npod p4 want=metadata.name:a
         pod p5 want=zone:!\npod p6 bear=gpu bear=node.kubernetes.io/unschedulable want=zone:!",
        expect![[r#"
            p1 -> b
            p2 -> b
            p3 -> b
            p4 -> a
            p6 -> c
            p5: 0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match Pod's node affinity/selector.
        "#]],
    );
    check(
        "node a taint=slow:PreferNoSchedule\nnode b cpu=100\nnode c disk:ssd cpu=100\npod x cpu=60 *3 like=disk:ssd",
        expect![[r#"
            x-0 -> c
            x-1 -> b
            x-2 -> a
        "#]],
    );
}

#[test]
fn higher_priority_goes_first() {
    check(
        "node a cpu=100\npod x cpu=100\npod y cpu=100 priority=5",
        expect![[r#"
        y -> a
        x: 0/1 nodes are available: 1 Insufficient cpu.
    "#]],
    );
}

#[test]
fn reads_the_api_types() {
    let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"namespace": "ns", "name": "p", "ownerReferences": [
            {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "no"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u", "controller": true}]},
        "spec": {
            "priority": 7,
            "nodeSelector": {"a": "b"},
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "1Mi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "50m", "memory": "1Ki"}}}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "10m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "300m"}}}],
            "overhead": {"memory": "1"},
            "tolerations": [{"operator": "Exists"}, {"key": "k", "value": "v", "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}]},
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 5, "preference": {"matchFields": [
                        {"key": "metadata.name", "operator": "In", "values": ["n"]}]}}]}}}
    }))
    .unwrap();
    expect![[r#"
        Pod { key: ObjectKey { namespace: "ns", name: "p" }, requests: Resources { cpu_milli: 310, memory_bytes: 1049601, pods: 1 }, owner: Some("u"), priority: 7, rules: Rules { node_name: None, node_selector: {"a": "b"}, required: Some([Term { labels: [Requirement { key: "cores", operator: GreaterThan(4) }], fields: [] }]), preferred: [Preference { weight: 5, term: Term { labels: [], fields: [Requirement { key: "metadata.name", operator: In(["n"]) }] } }], tolerations: [Toleration { key: "", value: None, effect: None }, Toleration { key: "k", value: Some("v"), effect: Some(NoSchedule) }] } }
    "#]]
    .assert_eq(&format!("{:?}\n", Pod::from(&pod)));
    let node: k8s_openapi::api::core::v1::Node = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "n", "labels": {"a": "b"}},
        "spec": {"unschedulable": true, "taints": [{"key": "k", "effect": "NoExecute"}]},
        "status": {"capacity": {"cpu": "9"}, "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "110"}}
    }))
    .unwrap();
    expect![[r#"
        Node { name: "n", labels: {"a": "b"}, taints: [Taint { key: "k", value: "", effect: NoExecute }], unschedulable: true, allocatable: Resources { cpu_milli: 2000, memory_bytes: 1073741824, pods: 110 } }
    "#]]
    .assert_eq(&format!("{:?}\n", Node::from(&node)));
}

/// A cluster of random size and load, in the language above.
fn any_cluster() -> impl Strategy<Value = String> {
    let node = (50..2000_i64, 50..2000_i64, 0..12_i64, 0..3_u8);
    let pod = (0..400_i64, 0..400_i64, 0..4_u8, 0..3_i32, 0..3_u8);
    (prop::collection::vec(node, 0..12), prop::collection::vec(pod, 0..80)).prop_map(|(nodes, pods)| {
        let nodes = nodes
            .iter()
            .enumerate()
            .map(|(i, (cpu, mem, max, zone))| format!("node n{i:02} cpu={cpu} mem={mem} pods={max} zone:{zone}\n"));
        let pods = pods.iter().enumerate().map(|(i, (cpu, mem, owner, priority, zone))| {
            format!("pod p{i} cpu={cpu} mem={mem} owner=o{owner} priority={priority} like=zone:{zone}\n")
        });
        nodes.chain(pods).collect()
    })
}

proptest! {
    #[test]
    fn never_overcommits_and_always_decides_alike(text in any_cluster()) {
        let (snapshot, pods) = cluster(&text);
        let placements = place(&snapshot, &pods);
        prop_assert_eq!(placements.bindings.len() + placements.unplaceable.len(), pods.len());
        let mut used: BTreeMap<Arc<str>, Resources> = BTreeMap::new();
        for binding in &placements.bindings {
            let pod = pods.iter().find(|pod| pod.key == binding.pod).unwrap();
            let sum = used.entry(Arc::clone(&binding.node)).or_default();
            *sum = sum.plus(pod.requests);
        }
        for (name, used) in &used {
            let left = snapshot.node(name).unwrap().allocatable.minus(*used);
            prop_assert!(left.cpu_milli >= 0 && left.memory_bytes >= 0 && left.pods >= 0, "{} {:?}", name, left);
        }
        prop_assert_eq!(plan(&text), plan(&text));
    }
}
