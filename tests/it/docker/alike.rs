//! The same pods three times, of modules, of Linux images, and of both in a pod: nothing else of the cluster tells which.

use wherry_tests::get;

use super::*;
use crate::objects::{endpoints_ready, ingress, service};

/// What a flavour's pods are, and the part of an answer that says so.
struct Flavour {
    name: &'static str,
    deployment: &'static str,
    greeting: &'static str,
}

const FLAVOURS: [Flavour; 3] = [
    Flavour { name: "modules", deployment: include_str!("alike/modules.yaml"), greeting: "Hello from web-" },
    Flavour { name: "images", deployment: include_str!("alike/images.yaml"), greeting: "from a ConfigMap" },
    Flavour { name: "mixed", deployment: include_str!("alike/mixed.yaml"), greeting: "Hello from web-" },
];

const READY: &str = "jsonpath={.status.readyReplicas}";

#[test]
fn modules_and_linux_images_are_alike() {
    let Some(engine) = Engine::start("modules_and_linux_images_are_alike") else { return };
    let cluster = cluster(&engine);
    for guest in ["hello-http", "call-service"] {
        cluster.load_guest(guest).unwrap();
    }
    for Flavour { name, deployment, greeting } in FLAVOURS {
        let rules = format!("{name}.example / Prefix web");
        let manifests = [deployment.to_owned(), service("web", 8080), ingress("web", &rules, "")];
        cluster.apply(name, &manifests.concat()).unwrap();
        endpoints_ready(&cluster, name, "web", 2);
        answers(&cluster, name, greeting);
        scales_and_rolls(&cluster, name);
        answers(&cluster, name, greeting);
        heals(&cluster, &engine, name);
        answers(&cluster, name, greeting);
    }
    let verbs = |words: &[&str]| ask(&cluster, words);
    let pod = verbs(&["get", "pods", "-n", "mixed", "-o", "jsonpath={.items[0].metadata.name}"]);
    until("a module reaches a container's port on localhost", || {
        Ok(verbs(&["logs", &pod, "-n", "mixed", "-c", "calls"]).contains("ahoy 3").then_some(()))
    })
    .unwrap();
    until("a container reaches a module's port on localhost, and a Service by its name", || {
        let log = verbs(&["logs", &pod, "-n", "mixed", "-c", "fetches"]);
        Ok((log.contains("local: Hello from") && log.contains("named: from a ConfigMap")).then_some(()))
    })
    .unwrap();
    assert!(verbs(&["logs", &pod, "-n", "mixed", "-c", "fetches"]).contains("denied"), "egress is not allowed");
    for Flavour { name, .. } in FLAVOURS {
        verbs(&["delete", "deployment", "web", "-n", name, "--wait"]);
    }
    until("nothing is left", || Ok(engine.docker(&["ps", "-aq"])?.is_empty().then_some(()))).unwrap();
}

fn answers(cluster: &Cluster, flavour: &str, greeting: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = cluster.ports().unwrap().http;
    let host = format!("{flavour}.example");
    until(&format!("{host} answers"), || {
        let answer = runtime.block_on(get(port, &host, "/"));
        Ok(answer.ok().filter(|answer| answer.status == 200 && answer.body.contains(greeting)))
    })
    .unwrap();
}

/// Three replicas, then all of them anew with another environment.
fn scales_and_rolls(cluster: &Cluster, flavour: &str) {
    ask(cluster, &["scale", "deployment", "web", "-n", flavour, "--replicas", "3"]);
    endpoints_ready(cluster, flavour, "web", 3);
    ask(cluster, &["set", "env", "deployment/web", "-n", flavour, "ROUND=2"]);
    ask(cluster, &["rollout", "status", "deployment/web", "-n", flavour]);
    until("all replicas are ready", || {
        Ok((ask(cluster, &["get", "deployment", "web", "-n", flavour, "-o", READY]) == "3").then_some(()))
    })
    .unwrap();
}

/// A pod that is deleted is replaced, and a Linux container that somebody kills is started again.
fn heals(cluster: &Cluster, engine: &Engine, flavour: &str) {
    let pod = ask(cluster, &["get", "pods", "-n", flavour, "-o", "jsonpath={.items[0].metadata.name}"]);
    ask(cluster, &["delete", "pod", &pod, "-n", flavour, "--wait"]);
    endpoints_ready(cluster, flavour, "web", 3);
    let names = engine.docker(&["ps", "--format", "{{.Names}}"]).unwrap();
    let Some(name) =
        names.lines().find(|name| name.starts_with(&format!("{flavour}_web-")) && !name.contains("sandbox"))
    else {
        return assert_eq!(flavour, "modules");
    };
    engine.docker(&["kill", name]).unwrap();
    until("the container is started again", || {
        let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
        Ok(ask(cluster, &["get", "pods", "-n", flavour, "-o", path]).contains('1').then_some(()))
    })
    .unwrap();
    endpoints_ready(cluster, flavour, "web", 3);
}
