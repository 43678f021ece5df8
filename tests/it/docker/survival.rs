//! What becomes of containers when the node's process, or the engine, is killed, and of those that others end.

use super::*;
use crate::objects::{endpoints_ready, service};

/// The id, the number of restarts and the address of a pod's first container.
const FACTS: &str =
    "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount} {.status.podIP}";

fn counted(cluster: &Cluster) -> Vec<u64> {
    // Before the container is there, there is no log.
    let lines = Printed::from(cluster.wherry(&["logs", "counts"]).unwrap()).out;
    lines.lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn containers_outlive_the_node_and_are_taken_over() {
    let Some(engine) = Engine::start("containers_outlive_the_node_and_are_taken_over") else { return };
    let mut cluster = cluster(&engine);
    cluster.apply("default", include_str!("counts.yaml")).unwrap();
    until("it counts", || Ok((counted(&cluster).len() > 5).then_some(()))).unwrap();
    let before = ask(&cluster, &["get", "pod", "counts", "-o", FACTS]);
    for _ in 0..2 {
        cluster.kill().unwrap();
        cluster.restart().unwrap();
        let heard = counted(&cluster).len();
        until("it goes on", || Ok((counted(&cluster).len() > heard + 5).then_some(()))).unwrap();
        assert_eq!(ask(&cluster, &["get", "pod", "counts", "-o", FACTS]), before);
    }
    let counted = counted(&cluster);
    let expected: Vec<u64> = (0..counted.len() as u64).collect();
    assert_eq!(counted, expected, "every line once, also of the time without a node");

    // What belongs to no pod when the node comes back is removed.
    cluster.kill().unwrap();
    let master = cluster.data().to_owned();
    assert!(engine.docker(&["ps", "-q"]).unwrap().lines().count() >= 2, "the pod and its sandbox in {master:?}");
    cluster.restart().unwrap();
    run(&cluster, &[("delete pod counts --wait", &["deleted"])]);
    until("nothing is left", || Ok(engine.docker(&["ps", "-aq"])?.is_empty().then_some(()))).unwrap();
}

#[test]
fn an_engine_may_be_killed_hang_and_lose_containers() {
    let Some(mut engine) = Engine::start("an_engine_may_be_killed_hang_and_lose_containers") else { return };
    let cluster = cluster(&engine);
    cluster.load_guest("hello-http").unwrap();
    cluster.apply("default", include_str!("counts.yaml")).unwrap();
    let restarts = |count: &'static str| format!("restarts {count}");
    let wait_for = |count: &'static str| {
        until(&restarts(count), || {
            let path = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].state}";
            let facts = ask(&cluster, &["get", "pod", "counts", "-o", path]);
            Ok((facts.starts_with(count) && facts.contains("running")).then_some(()))
        })
        .unwrap();
    };
    wait_for("0 ");
    let address = ask(&cluster, &["get", "pod", "counts", "-o", "jsonpath={.status.podIP}"]);
    let name = |part: &str| {
        let names = engine.docker(&["ps", "--format", "{{.Names}}"]).unwrap();
        names.lines().find(|name| name.contains(part)).unwrap().to_owned()
    };

    engine.docker(&["rm", "-f", &name("counts_c_")]).unwrap();
    wait_for("1 ");
    engine.docker(&["kill", &name("counts_sandbox_")]).unwrap();
    wait_for("2 ");
    assert_eq!(ask(&cluster, &["get", "pod", "counts", "-o", "jsonpath={.status.podIP}"]), address);

    engine.kill().unwrap();
    let condition = r#"~ get node wherry -o jsonpath={.status.conditions[?(@.type=="RuntimesReady")].status}"#;
    let lost: Line = (r#"~ get node wherry -o jsonpath={.status.conditions}"#, &["RuntimeLost"]);
    run(&cluster, &[lost]);
    engine.restart().unwrap();
    run(&cluster, &[(condition, &["True"])]);
    wait_for("3 ");
    assert_eq!(ask(&cluster, &["get", "pod", "counts", "-o", "jsonpath={.status.podIP}"]), address);

    engine.pause();
    run(&cluster, &[lost]);
    cluster.apply("default", &crate::objects::web("module")).unwrap();
    run(&cluster, &[("~ get pod module", &["1/1"])]);
    engine.resume();
    run(&cluster, &[(condition, &["True"])]);
    wait_for("3 ");
}

#[test]
fn what_a_hung_engine_has_is_unknown_until_it_answers() {
    let Some(engine) = Engine::start("what_a_hung_engine_has_is_unknown_until_it_answers") else { return };
    let cluster = cluster(&engine);
    cluster.load_guest("call-service").unwrap();
    cluster.apply("default", &[include_str!("hung.yaml"), &service("web", 7000)].concat()).unwrap();
    endpoints_ready(&cluster, "default", "web", 1);
    let of_pods = |path: &str| ask(&cluster, &["get", "pods", "-o", &format!("jsonpath={{.items[0]{path}}}")]);
    let runs = || {
        let of =
            |list: &str| of_pods(&format!(".status.{list}[0].containerID}} {{.items[0].status.{list}[0].restartCount"));
        ["initContainerStatuses", "containerStatuses"].map(of)
    };
    let (pod, before) = (of_pods(".metadata.name"), runs());

    engine.pause();
    run(
        &cluster,
        &[
            ("~ get pods", &["1/2", "Unknown"]),
            (
                "get pods -o jsonpath={.items[0].status.conditions}",
                &["RuntimeLost", r#""status":"Unknown""#, "containers with unknown status: [echo]: docker:"],
            ),
        ],
    );
    endpoints_ready(&cluster, "default", "web", 0);
    let calls = || ask(&cluster, &["logs", &pod, "-c", "calls"]).lines().count();
    let heard = calls();
    until("the module and the container of the pod go on", || Ok((calls() > heard + 2).then_some(()))).unwrap();

    engine.resume();
    endpoints_ready(&cluster, "default", "web", 1);
    run(&cluster, &[("~ get pods", &["2/2", "Running"])]);
    assert_eq!(runs(), before, "nothing was started anew");
}

#[test]
fn a_node_that_starts_while_its_engine_hangs_waits_for_what_it_remembers() {
    let test = "a_node_that_starts_while_its_engine_hangs_waits_for_what_it_remembers";
    let Some(mut engine) = Engine::start(test) else { return };
    let mut cluster = cluster(&engine);
    cluster.load_guest("hello-http").unwrap();
    cluster.apply("default", &[include_str!("remembered.yaml"), &service("remembered", 8080)].concat()).unwrap();
    endpoints_ready(&cluster, "default", "remembered", 1);
    let facts = |cluster: &Cluster| ask(cluster, &["get", "pod", "remembered", "-o", FACTS]);
    let before = facts(&cluster);

    engine.pause();
    cluster.kill().unwrap();
    cluster.restart().unwrap();
    let unknown: Line = (
        "~ get pod remembered -o jsonpath={.status}",
        &["RuntimeLost", "containers with unknown status: [c]: docker:"],
    );
    run(&cluster, &[unknown]);
    endpoints_ready(&cluster, "default", "remembered", 0);
    cluster.apply("default", &crate::objects::web("module")).unwrap();
    run(&cluster, &[("~ get pod module", &["1/1"])]);
    engine.resume();
    endpoints_ready(&cluster, "default", "remembered", 1);
    assert_eq!(facts(&cluster), before, "its probe did not count while nobody could reach it");

    // Where there is no engine, there is nothing to wait for.
    cluster.kill().unwrap();
    engine.kill().unwrap();
    cluster.restart().unwrap();
    let ended = "~ get pod remembered -o jsonpath={.status.containerStatuses[0].restartCount}";
    run(&cluster, &[(ended, &["1"])]);
}
