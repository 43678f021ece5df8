//! What the node makes of pods, with the real runtime: environment, files, hooks, last words, and coming back after kill -9.

use std::path::Path;

use wherry_tests::{Cluster, Line, Printed, play, script};

use crate::WHERRY;

fn run(cluster: &Cluster, namespace: &str, lines: &[Line]) {
    let verbs = |words: &[&str]| {
        let words: Vec<&str> = words.iter().copied().chain(["-n", namespace]).collect();
        Ok(Printed::from(cluster.wherry(&words)?))
    };
    script(&verbs, Path::new("/"), lines);
}

#[test]
fn pods_are_what_their_specs_say() {
    let cluster = Cluster::start(WHERRY).unwrap();
    for guest in ["hello-http", "batch", "misbehave", "log-shipper"] {
        cluster.load_guest(guest).unwrap();
    }
    play(&[
        ("environment and arguments", &|| environment(&cluster)),
        ("files follow their sources", &|| files(&cluster)),
        ("init containers and sidecars have their order", &|| order(&cluster)),
        ("grace is what the last word says", &|| grace(&cluster)),
        ("a container's last words", &|| last_words(&cluster)),
        ("startup gates liveness", &|| startup(&cluster)),
    ]);
}

fn environment(cluster: &Cluster) {
    cluster.apply("environment", include_str!("agent/environment.yaml")).unwrap();
    run(
        cluster,
        "environment",
        &[
            ("wait --for jsonpath={.status.phase}=Succeeded pod/env --timeout 60s", &["met"]),
            ("logs env", &["from-map from-secret env/web/by-hand 64 wherry env+from-secret $(NAME) $(NONE) $(GONE)\n"]),
            (
                "get pod env -o jsonpath={.status.qosClass},{.status.hostIP},{.status.podIPs[0].ip}",
                &["Burstable,127.0.0.1,10.128."],
            ),
        ],
    );
}

fn files(cluster: &Cluster) {
    cluster.apply("files", include_str!("agent/files.yaml")).unwrap();
    run(
        cluster,
        "files",
        &[
            ("~ logs reader", &["first\n"]),
            ("patch cm map --type merge -p '{\"data\":{\"log\":\"first\\nsecond\\n\"}}'", &["patched"]),
            // Without a restart.
            ("~ logs reader", &["first\nsecond\n"]),
            ("get pod reader -o jsonpath={.status.containerStatuses[0].restartCount}", &["0"]),
            ("~ logs labels", &["app=\"reader\""]),
            ("~ events --for pod/nohost", &["hostPath type check failed: /no/such/directory is not a directory"]),
            ("get pod nohost", &["ContainerCreating"]),
        ],
    );
}

fn order(cluster: &Cluster) {
    cluster.apply("order", include_str!("agent/order.yaml")).unwrap();
    run(
        cluster,
        "order",
        &[
            // The sidecar ends after the main container, and the pod has succeeded.
            ("wait --for jsonpath={.status.phase}=Succeeded pod/job --timeout 60s", &["met"]),
            ("get pod job", &["0/2", "Completed"]),
            ("logs job --all-containers", &["one\n", "shipping /none\n", "two\n", "three\n"]),
            ("~ get pod gated", &["0/2     Init:0/1"]),
            ("get pod gated -o jsonpath={.status.initContainerStatuses[0].started}", &["false"]),
        ],
    );
}

fn grace(cluster: &Cluster) {
    cluster.apply("grace", include_str!("agent/grace.yaml")).unwrap();
    run(
        cluster,
        "grace",
        &[
            ("wait --for condition=Ready pod/stubborn pod/hooked --timeout 60s", &["met"]),
            ("delete pod stubborn --wait=false", &["deleted"]),
            ("get pod stubborn", &["1/1     Terminating"]),
            ("get pod stubborn -o jsonpath={.metadata.deletionGracePeriodSeconds}", &["1000"]),
            ("~ get pod stubborn -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].status}'", &["False"]),
            // A second, shorter grace counts.
            ("delete pod stubborn --grace-period 1", &["deleted"]),
            ("! get pod stubborn", &["not found"]),
            ("delete pod hooked", &["deleted"]),
            ("~ events --for pod/hooked", &["FailedPreStopHook"]),
        ],
    );
}

fn last_words(cluster: &Cluster) {
    cluster.apply("words", include_str!("agent/words.yaml")).unwrap();
    run(
        cluster,
        "words",
        &[
            ("wait --for jsonpath={.status.phase}=Failed pod/printed pod/silent --timeout 60s", &["met"]),
            ("get pod printed -o jsonpath={.status.containerStatuses[0].state.terminated.message}", &["NOTHING"]),
            ("get pod printed -o jsonpath={.status.containerStatuses[0].state.terminated.exitCode}", &["2"]),
            ("get pod silent -o jsonpath={.status.containerStatuses[0].state.terminated.message}", &["not: NOTHING"]),
        ],
    );
}

fn startup(cluster: &Cluster) {
    cluster.apply("startup", include_str!("agent/startup.yaml")).unwrap();
    run(
        cluster,
        "startup",
        &[
            ("~ get pod slow -o jsonpath={.status.containerStatuses[0].restartCount}", &["1"]),
            (
                "~ events --for pod/slow",
                &["Startup probe failed", "failed startup probe, will be restarted", "not: Liveness"],
            ),
        ],
    );
}

#[test]
fn pods_come_back_after_kill_9() {
    let mut cluster = Cluster::start_with(WHERRY, &["--isolation", "shared"]).unwrap();
    cluster.load_guest("log-shipper").unwrap();
    cluster.load_guest("batch").unwrap();
    cluster.apply("default", include_str!("agent/kill.yaml")).unwrap();
    let before: &[Line] = &[
        ("wait --for condition=Ready pod/up --timeout 60s", &["met"]),
        ("wait --for jsonpath={.status.phase}=Succeeded pod/ended --timeout 60s", &["met"]),
        ("~ logs up", &["of-the-first"]),
    ];
    run(&cluster, "default", before);
    cluster.kill().unwrap();
    cluster.restart().unwrap();
    run(
        &cluster,
        "default",
        &[
            ("~ get pod up -o jsonpath={.status.containerStatuses[0].restartCount}", &["1"]),
            ("wait --for condition=Ready pod/up --timeout 60s", &["met"]),
            ("get pod up -o jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}", &["137"]),
            ("logs up --previous", &["of-the-first"]),
            ("get pod ended", &["Completed   0 "]),
            ("logs ended", &["said"]),
            ("delete pod up", &["deleted"]),
        ],
    );
}
