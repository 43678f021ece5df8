//! Sandboxes as processes: guests run confined, each namespace's in a process of their own, which takes down nobody else.

use std::fs;
use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;
use wherry_tests::{Cluster, Process, get, until};

use crate::WHERRY;
use crate::objects::{ingress, web};

/// In which /proc counts.
const TICKS_A_SECOND: u64 = 100;
const LAST_REASON: &str = "jsonpath={.status.containerStatuses[0].lastState.terminated.reason}";

#[test]
fn a_sandbox_is_confined_and_its_end_is_its_own_pods() {
    let mut cluster = Cluster::start(WHERRY).unwrap();
    cluster.load_guest("hello-http").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let status = |cluster: &Cluster, host: &str| {
        let port = cluster.ports().unwrap().http;
        runtime.block_on(get(port, host, "/")).map_or(0, |answer| answer.status)
    };
    for (namespace, name) in [("default", "a"), ("other", "b")] {
        let rules = format!("{name}.example / Prefix {name}");
        cluster.apply(namespace, &(web(name) + &ingress(name, &rules, ""))).unwrap();
        let host = format!("{name}.example");
        until(&format!("{host} answers"), || Ok((status(&cluster, &host) == 200).then_some(()))).unwrap();
    }
    let (first, second) = (sandbox(&cluster, "default"), sandbox(&cluster, "other"));
    let facts = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    assert!(facts.contains("NoNewPrivs:\t1") && facts.contains("Seccomp:\t2"), "{facts}");
    assert_ne!(first, second);
    let path = r#"jsonpath={.status.conditions[?(@.type=="SandboxConfinement")].reason}"#;
    let output = cluster.wherry(&["get", "node", "wherry", "-o", path]).unwrap();
    let reason = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(reason == "ConfinementComplete" || reason == "ConfinementIncomplete", "{output:?}");
    assert_eq!(reason == "ConfinementIncomplete", cluster.errors().contains("not as confined"), "{}", cluster.errors());
    no_answer(&cluster, &runtime);

    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    for _ in 0..20 {
        assert_eq!(status(&cluster, "b.example"), 200, "the other namespace sees nothing of it");
    }
    until("the pods are back", || Ok((status(&cluster, "a.example") == 200).then_some(()))).unwrap();
    let output = cluster.wherry(&["get", "pod", "a", "-o", LAST_REASON]).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "SandboxChanged", "{output:?}");
    assert_ne!(sandbox(&cluster, "default"), first);

    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
    assert!(!notes(&cluster), "a node that is stopped leaves no sandbox");
}

#[test]
fn pods_in_sandboxes_outlive_the_node_and_are_taken_over() {
    let mut cluster = Cluster::start(WHERRY).unwrap();
    for guest in ["hello-http", "echo-tcp", "call-service"] {
        cluster.load_guest(guest).unwrap();
    }
    let manifests = [web("a"), ingress("a", "a.example / Prefix a", ""), include_str!("sandboxes/talk.yaml").into()];
    cluster.apply("default", &manifests.concat()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answers = |cluster: &Cluster| {
        let port = cluster.ports().unwrap().http;
        let status = || runtime.block_on(get(port, "a.example", "/")).map_or(0, |answer| answer.status);
        until("the ingress answers", || Ok((status() == 200).then_some(()))).unwrap();
    };
    answers(&cluster);
    until("there is talk", || Ok((spoken(&cluster).len() > 20).then_some(()))).unwrap();
    let (before, process) = (statuses(&cluster), sandbox(&cluster, "default"));

    for _ in 0..2 {
        cluster.kill().unwrap();
        cluster.restart().unwrap();
        answers(&cluster);
        let heard = spoken(&cluster).len();
        until("the talk goes on", || Ok((spoken(&cluster).len() > heard + 20).then_some(()))).unwrap();
        assert_eq!(statuses(&cluster), before);
    }
    assert_eq!(sandbox(&cluster, "default"), process);
    let spoken = spoken(&cluster);
    assert!(spoken.iter().enumerate().all(|(at, number)| at == *number), "{spoken:?}");
    kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
    until("the loss of what was taken over is seen", || {
        let output = cluster.wherry(&["get", "pod", "a", "-o", LAST_REASON])?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("SandboxChanged").then_some(()))
    })
    .unwrap();
    answers(&cluster);
    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
}

#[test]
fn master_and_node_are_processes_of_their_own() {
    // The master comes back at its port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut cluster = Cluster::start_as("master", WHERRY, &["--api-port", &port]).unwrap();
    let first = node(&cluster);
    for guest in ["hello-http", "echo-tcp", "call-service"] {
        cluster.load_guest(guest).unwrap();
    }
    let manifests = [web("a"), ingress("a", "a.example / Prefix a", ""), include_str!("sandboxes/talk.yaml").into()];
    cluster.apply("default", &manifests.concat()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let status = |cluster: &Cluster| {
        let port = cluster.ports().unwrap().http;
        runtime.block_on(get(port, "a.example", "/")).map_or(0, |answer| answer.status)
    };
    until("the ingress answers", || Ok((status(&cluster) == 200).then_some(()))).unwrap();
    until("there is talk", || Ok((spoken(&cluster).len() > 20).then_some(()))).unwrap();
    let before = statuses(&cluster);
    drop(first);
    let mut second = node(&cluster);
    until("the ingress answers", || Ok((status(&cluster) == 200).then_some(()))).unwrap();
    assert_eq!(statuses(&cluster), before);
    cluster.kill().unwrap();
    assert_eq!(status(&cluster), 200, "without a master");
    cluster.restart().unwrap();
    let heard = spoken(&cluster).len();
    until("the talk goes on", || Ok((spoken(&cluster).len() > heard + 20).then_some(()))).unwrap();
    assert_eq!(statuses(&cluster), before);
    assert_eq!(second.terminate().unwrap(), Some(0));
    assert!(!notes(&cluster));
    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
}

fn node(cluster: &Cluster) -> Process {
    cluster.beside("node", &[]).unwrap()
}

/// The numbers of the lines that came back over the connection that `talker` keeps.
fn spoken(cluster: &Cluster) -> Vec<usize> {
    let output = cluster.wherry(&["logs", "talker"]).unwrap();
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    log.lines().filter_map(|line| line.strip_prefix("ahoy ")?.split(' ').next()?.parse().ok()).collect()
}

/// What the pods' statuses say of their addresses and containers: ids, starts, restarts.
fn statuses(cluster: &Cluster) -> Vec<serde_json::Value> {
    let output = cluster.wherry(&["get", "pods", "-o", "json"]).unwrap();
    let pods: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let status = |pod: &serde_json::Value| {
        let status = &pod["status"];
        serde_json::json!([status["podIP"], status["startTime"], status["containerStatuses"]])
    };
    pods["items"].as_array().unwrap().iter().map(status).collect()
}

/// Whether any sandbox has a note.
fn notes(cluster: &Cluster) -> bool {
    fs::read_dir(cluster.data().join("node/sandboxes")).unwrap().next().is_some()
}

/// A loop that never yields, in a process of its own: the operating system gives it its part, and ends it.
#[test]
fn an_isolated_loop_is_paced_and_ended_by_the_operating_system() {
    const SPIN: &str = "---
apiVersion: v1
kind: Pod
metadata: {name: spin}
spec:
  runtimeClassName: wasm-isolated
  terminationGracePeriodSeconds: 1
  containers:
    - {name: spin, image: 'misbehave:v1', args: [spin], resources: {limits: {cpu: 200m}}}
";
    let mut cluster = Cluster::start(WHERRY).unwrap();
    cluster.load_guest("misbehave").unwrap();
    cluster.apply("default", SPIN).unwrap();
    let field = |path: &str| {
        let output = cluster.wherry(&["get", "pod", "spin", "-o", &format!("jsonpath={{{path}}}")]).unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    until("the loop runs", || Ok((field(".status.phase") == "Running").then_some(()))).unwrap();
    let process = noted(&cluster, &format!("pod-{}", field(".metadata.uid")));
    let used = || ticks(process).unwrap();
    let (began, before) = (Instant::now(), used());
    // Its part of four seconds or more, whatever else the machine does meanwhile.
    until("it has used some", || Ok((used() > before + TICKS_A_SECOND / 2).then_some(()))).unwrap();
    let part = (used() - before) as f64 / TICKS_A_SECOND as f64 / began.elapsed().as_secs_f64();
    println!("a limit of 200m is {part:.3} cores");
    assert!(part < 0.26, "{part} cores");

    assert!(cluster.wherry(&["delete", "pod", "spin"]).unwrap().status.success());
    until("its process is gone", || Ok(ticks(process).is_none().then_some(()))).unwrap();
    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
}

/// What a process has used of the CPU; `None` if it is gone.
fn ticks(process: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields[0] != "Z").then(|| fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

/// What ends before it answers, or half-way, is seen as with modules in the node's process.
fn no_answer(cluster: &Cluster, runtime: &tokio::runtime::Runtime) {
    let port = cluster.ports().unwrap().http;
    for _ in 0..3 {
        let answer = runtime.block_on(get(port, "a.example", "/trap")).unwrap();
        let sentence = "502 Bad Gateway: the endpoint of service default/a ended before it answered\n";
        assert_eq!((answer.status, answer.body.as_str()), (502, sentence));
        let cut = runtime.block_on(get(port, "a.example", "/begin-and-trap"));
        assert!(cut.is_err() || cut.is_ok_and(|answer| answer.status == 502), "it is no whole answer");
        assert_eq!(runtime.block_on(get(port, "a.example", "/")).unwrap().status, 200);
    }
}

/// The process of a namespace's sandbox.
fn sandbox(cluster: &Cluster, namespace: &str) -> i32 {
    noted(cluster, &format!("namespace-{namespace}"))
}

/// The process of the sandbox of that name.
fn noted(cluster: &Cluster, name: &str) -> i32 {
    let note = cluster.data().join(format!("node/sandboxes/{name}.pid"));
    until("the sandbox has a note", || {
        let note = fs::read_to_string(&note).unwrap_or_default();
        Ok(note.split_whitespace().next().and_then(|pid| pid.parse().ok()))
    })
    .unwrap()
}
