//! What is done within running containers: exec probes, `kubectl top`, `kubectl cp`.

use std::fs;

use wherry_tests::Kubectl;

use super::*;

const READY: &str = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;

#[test]
fn programs_in_containers_probe_copy_and_are_measured() {
    let test = "programs_in_containers_probe_copy_and_are_measured";
    let Some(engine) = Engine::start(test) else { return };
    let cluster = cluster(&engine);
    cluster.apply("default", include_str!("probed.yaml")).unwrap();
    let Some(kubectl) = kubectl(&cluster, test) else { return };
    // A container that was started anew just now has to be there first.
    let within = |pod: &str, command: &[&str]| {
        let words = [&["exec", pod, "--"][..], command].concat();
        let mut last = Printed::default();
        let done = until(&words.join(" "), || {
            last = kubectl.run(&words)?;
            Ok(last.ok.then_some(()))
        });
        assert!(done.is_ok(), "{words:?}: {last:?}");
        last.out
    };
    probes(&cluster, &within);
    late_programs_are_killed(&cluster, &engine, &within);
    tops(&kubectl, &engine);
    copies(&cluster, &kubectl, &within);
}

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn kubectl<'a>(cluster: &'a Cluster, test: &str) -> Option<Kubectl<'a>> {
    let kubectl = Kubectl::of(cluster);
    if kubectl.is_none() {
        eprintln!("SKIPPED: {test}: kubectl is not installed");
    }
    kubectl
}

type Within<'a> = &'a dyn Fn(&str, &[&str]) -> String;

/// Readiness, there and back, then liveness.
fn probes(cluster: &Cluster, within: Within<'_>) {
    let ready = |status: &'static str| {
        until(status, || Ok((ask(cluster, &["get", "pod", "probed", "-o", READY]) == status).then_some(()))).unwrap()
    };
    run(cluster, &[("~ get pod probed -o jsonpath={.status.phase}", &["Running"])]);
    ready("False");
    within("probed", &["touch", "/tmp/ready"]);
    ready("True");
    within("probed", &["rm", "-f", "/tmp/ready"]);
    ready("False");
    run(
        cluster,
        &[("~ get events", &["Readiness probe failed: command 'cat /tmp/ready' exited with 1: cat: can't open"])],
    );
    within("probed", &["rm", "-f", "/tmp/alive"]);
    run(
        cluster,
        &[
            ("~ get pod probed -o jsonpath={.status.containerStatuses[0].restartCount}", &["1"]),
            ("~ get pod probed -o jsonpath={.status.containerStatuses[0].state}", &["running"]),
            ("get events", &["Container c failed liveness probe, will be restarted"]),
        ],
    );
    within("probed", &["cat", "/tmp/alive"]);
}

/// Each second another is started, none of which would end by itself.
fn late_programs_are_killed(cluster: &Cluster, engine: &Engine, within: Within<'_>) {
    run(cluster, &[("~ get events", &["command timed out"])]);
    until(
        "some have been started",
        || Ok((within("slow", &["cat", "/tmp/probes"]).lines().count() >= 6).then_some(())),
    )
    .unwrap();
    let names = engine.docker(&["ps", "--format", "{{.Names}}"]).unwrap();
    let name = names.lines().find(|name| name.contains("slow_c_")).unwrap();
    // One runs, and on a busy machine others are about to begin or to end.
    until("no more than some run", || {
        let running = engine.docker(&["top", name, "-o", "pid,args"])?.matches("sleep 2000").count();
        Ok((running <= 3).then_some(()))
    })
    .unwrap();
}

/// What the engine says of it, which is half a core at most by its limit, and the memory that it holds.
fn tops(kubectl: &Kubectl<'_>, engine: &Engine) {
    let names = engine.docker(&["ps", "--format", "{{.Names}}"]).unwrap();
    let name = names.lines().find(|name| name.contains("burns_c_")).unwrap();
    let mut last = String::new();
    let told = until("the figures are true", || {
        let percent = engine.docker(&["stats", "--no-stream", "--format", "{{.CPUPerc}}", name])?;
        let used: f64 = percent.trim_end_matches('%').parse()?;
        last = kubectl.run(&["top", "pod", "burns", "--no-headers"])?.out + &percent;
        let figure = |place: usize, unit: &str| -> f64 {
            last.split_whitespace().nth(place).and_then(|word| word.strip_suffix(unit)?.parse().ok()).unwrap_or(0.0)
        };
        // Where others want the processors, too, it gets less, and not the same at both times.
        let (share, mebi) = (figure(1, "m") / (used * 10.0), figure(2, "Mi"));
        let is_true = (0.7..=1.4).contains(&share) && figure(1, "m") <= 550.0 && (32.0..=40.0).contains(&mebi);
        Ok(is_true.then_some(()))
    });
    assert!(told.is_ok(), "{last}");
}

/// A file and a directory, there and back.
fn copies(cluster: &Cluster, kubectl: &Kubectl<'_>, within: Within<'_>) {
    let folder = cluster.data().join("copied");
    fs::create_dir_all(folder.join("there/deep")).unwrap();
    fs::write(folder.join("there/deep/file"), [b"x".repeat(1 << 20).as_slice(), b"end"].concat()).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let copy = |from: &str, to: &str| {
        let printed = kubectl.run(&["cp", from, to]).unwrap();
        assert!(printed.ok, "{from} to {to}: {}", printed.err);
    };
    copy(&path("there"), "burns:/tmp/there");
    assert!(within("burns", &["tail", "-c", "3", "/tmp/there/deep/file"]).ends_with("end"));
    copy("burns:/tmp/there/deep/file", &path("back"));
    assert_eq!(fs::read(folder.join("back")).unwrap(), fs::read(folder.join("there/deep/file")).unwrap());
}
