//! Nodes, verbs and images of several masters: whichever master dies or hangs, they go on with another.

use std::process::Stdio;

use tokio::runtime::Runtime;
use tokio::time::Instant;
use wherry_api::kinds::Node;
use wherry_client::{Kubeconfig, ListOptions};
use wherry_tests::{Cluster, Machine, until};

use crate::commands::verb;
use crate::masters::group::{Group, start};

/// A node that is silent for so long counts as lost: twice the default, for machines that build something else meanwhile.
const GRACE: [&str; 2] = ["--node-monitor-grace-period", "4s"];

#[test]
fn whichever_master_goes_nodes_verbs_and_images_stay() {
    let mut group = Group { masters: vec![start("a", 1, &GRACE)], runtime: Runtime::new().unwrap() };
    group.join("b", 2, 0, &GRACE);
    group.join("c", 3, 0, &GRACE);
    for master in &group.masters {
        until("a kubeconfig names all masters", || {
            Ok((Kubeconfig::load(&master.kubeconfig())?.servers.len() == 3).then_some(()))
        })
        .unwrap();
    }
    let token = verb(&group.masters[0], "token create");
    let join = |name: &str, address: &str| Machine::join(&group.masters[0], name, address, &token, &[]).unwrap();
    let (mut first, second) = (join("n1", "127.0.0.11"), join("n2", "127.0.0.12"));
    for machine in [&first, &second] {
        until("a node has kept all masters", || {
            let kept = std::fs::read_to_string(machine.data().join("node/servers")).unwrap_or_default();
            Ok((kept.lines().count() == 3).then_some(()))
        })
        .unwrap();
    }
    group.masters[0].load_guest("hello-http").unwrap();
    let before = readiness(&group, 1);

    // kill -9 of the master that the nodes joined by and that the image was pushed to. No node has pulled it yet.
    verb(&group.masters[0], "create configmap held");
    let mut waiting = group.masters[0].command(&["wait", "--for", "delete", "configmap/held", "--timeout", "60s"]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    group.masters[0].kill().unwrap();
    pods_start(&group.masters[0], "kill-9");
    // A verb that was waiting all the while has not noticed.
    verb(&group.masters[1], "delete configmap held");
    let waited = waiting.wait_with_output().unwrap();
    let told = (String::from_utf8_lossy(&waited.stdout), String::from_utf8_lossy(&waited.stderr));
    assert_eq!((told.0.as_ref(), told.1.as_ref()), ("configmap/held condition met\n", ""));
    // A node that starts while that master is gone finds the others.
    assert_eq!(readiness(&group, 1), before, "a node was taken for dead");
    assert_eq!(first.terminate().unwrap(), Some(0), "{}", first.errors());
    first.restart().unwrap();
    group.masters[0].restart().unwrap();

    // The node that was away may have been taken for lost.
    until("both nodes are well", || {
        let nodes = readiness(&group, 1);
        Ok(nodes.iter().all(|node| node.contains(" True since") && node.ends_with("None")).then_some(()))
    })
    .unwrap();
    let before = readiness(&group, 1);
    for place in 0..3 {
        group.leader();
        group.masters[place].pause();
        pods_start(&group.masters[place], &format!("sigstop-{place}"));
        assert_eq!(readiness(&group, (place + 1) % 3), before, "a node was taken for dead");
        group.masters[place].resume();
    }
}

/// A pod starts on each node, by the kubeconfig of a master that does not answer, and without a word about that.
fn pods_start(lost: &Cluster, name: &str) {
    let began = Instant::now();
    let made = lost.wherry(&["create", "configmap", name]).unwrap();
    assert_eq!(String::from_utf8_lossy(&made.stderr), "");
    println!("{name}: a write acknowledged {:?} after the master was lost", began.elapsed());
    let pod = |node: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}-{node}}}\nspec:\n  nodeName: {node}\n  containers:\n  \
             - {{name: web, image: \"hello-http:v1\", ports: [{{containerPort: 8080}}]}}\n"
        )
    };
    lost.apply("default", &[pod("n1"), pod("n2")].join("---\n")).unwrap();
    for node in ["n1", "n2"] {
        verb(lost, &format!("wait --for condition=Ready pod/{name}-{node} --timeout 60s"));
    }
    println!("{name}: a pod ready on each node {:?} after", began.elapsed());
}

/// The nodes as a master shows them: since when they are ready, and their taints. A node that was lost for a while differs.
fn readiness(group: &Group, by: usize) -> Vec<String> {
    let client = group.masters[by].client().unwrap();
    let nodes = group.runtime.block_on(client.all::<Node>().list(ListOptions::default())).unwrap().items;
    let one = |node: Node| {
        let conditions = node.status.unwrap().conditions.unwrap();
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap();
        let since = ready.last_transition_time.unwrap().0;
        let taints = node.spec.unwrap().taints.filter(|taints| !taints.is_empty());
        format!("{} {} since {since} {taints:?}", node.metadata.name.unwrap(), ready.status)
    };
    nodes.into_iter().map(one).collect()
}
