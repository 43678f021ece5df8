//! Linux images beside modules, by an engine that the test starts: the same pods, Services and verbs for both.

use std::path::Path;

use wherry_tests::{Cluster, Engine, Line, Printed, script, until};

use crate::WHERRY;

mod alike;
mod collected;
mod inside;
mod kills;
mod names;
mod podman;
mod pods;
mod pulls;
mod survival;

/// A cluster of one node that has the engine.
fn cluster(engine: &Engine) -> Cluster {
    let cluster = Cluster::start_with(WHERRY, &["--docker", &engine.socket().display().to_string()]).unwrap();
    run(&cluster, &[("~ get node wherry -o jsonpath={.metadata.labels}", &[r#""wherry.dev/runtime.docker":"true""#])]);
    cluster
}

/// Verbs, and what they must print.
fn run(cluster: &Cluster, lines: &[Line]) {
    script(&|words| Ok(Printed::from(cluster.wherry(words)?)), Path::new("."), lines);
}

/// What a verb prints.
fn ask(cluster: &Cluster, words: &[&str]) -> String {
    let printed = Printed::from(cluster.wherry(words).unwrap());
    assert!(printed.ok, "{words:?}: {}", printed.err);
    printed.out.trim().to_owned()
}

#[test]
fn without_an_engine_a_linux_image_waits_and_says_why() {
    let cluster = Cluster::start_with(WHERRY, &["--docker", "/nowhere/engine.sock"]).unwrap();
    cluster.apply("default", include_str!("docker/waiting.yaml")).unwrap();
    run(
        &cluster,
        &[
            ("get runtimeclass docker -o jsonpath={.scheduling.nodeSelector}", &["wherry.dev/runtime.docker"]),
            ("get node wherry -o jsonpath={.metadata.labels}", &["not: wherry.dev/runtime.docker"]),
            ("get node wherry -o jsonpath={.status.conditions}", &["not: RuntimesReady"]),
            ("~ get pod asks-for-docker -o jsonpath={.status}", &["Unschedulable", "Pending"]),
        ],
    );
    cluster.load_guest("hello-http").unwrap();
    cluster.apply("default", &crate::objects::web("module")).unwrap();
    run(&cluster, &[("~ get pod module", &["1/1"])]);
}
