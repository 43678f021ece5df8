//! Sandboxes as processes: guests run confined, each namespace's in a process of their own, which takes down nobody else.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use wherry_tests::{Cluster, get, until};

use crate::WHERRY;
use crate::objects::{ingress, web};

#[test]
fn a_sandbox_is_confined_and_its_end_is_its_own_pods() {
    let mut cluster = Cluster::start_with(WHERRY, &["--isolation", "namespace"]).unwrap();
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

    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    for _ in 0..20 {
        assert_eq!(status(&cluster, "b.example"), 200, "the other namespace sees nothing of it");
    }
    until("the pods are back", || Ok((status(&cluster, "a.example") == 200).then_some(()))).unwrap();
    let path = "jsonpath={.status.containerStatuses[0].lastState.terminated.reason}";
    let output = cluster.wherry(&["get", "pod", "a", "-o", path]).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "SandboxChanged", "{output:?}");
    assert_ne!(sandbox(&cluster, "default"), first);

    // What a killed node leaves behind is ended by the next, and the pods come back.
    let left = sandbox(&cluster, "other");
    cluster.kill().unwrap();
    cluster.restart().unwrap();
    until("the pods are back", || Ok((status(&cluster, "b.example") == 200).then_some(()))).unwrap();
    assert_ne!(sandbox(&cluster, "other"), left);
    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
}

/// The process of a namespace's sandbox.
fn sandbox(cluster: &Cluster, namespace: &str) -> i32 {
    let note = cluster.data().join(format!("node/sandboxes/namespace-{namespace}.pid"));
    until("the sandbox has a note", || {
        let note = fs::read_to_string(&note).unwrap_or_default();
        Ok(note.split_whitespace().next().and_then(|pid| pid.parse().ok()))
    })
    .unwrap()
}
