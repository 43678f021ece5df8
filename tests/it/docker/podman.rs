//! The same on Podman's service: a pod's localhost, names and last words, output, exit codes, exec, attach, limits, and containers
//! that outlive the node's process and Podman's service.

use wherry_tests::Kubectl;

use super::*;

const FACTS: &str =
    "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount} {.status.podIP}";

#[test]
fn podman_runs_pods_as_docker_does() {
    let Some(mut engine) = Engine::start_podman("podman_runs_pods_as_docker_does") else { return };
    let mut cluster = cluster(&engine);
    cluster.load_guest("call-service").unwrap();
    let pods = [include_str!("podman.yaml"), include_str!("names.yaml"), include_str!("counts.yaml")];
    cluster.apply("default", &pods.join("---\n")).unwrap();
    run(
        &cluster,
        &[
            (
                "~ get pod ends -o jsonpath={.status}",
                &[r#""phase":"Failed""#, r#""exitCode":7"#, r#""reason":"Error""#],
            ),
            ("~ logs ends", &["to stdout", "to stderr", "A=b c", "ends"]),
            ("~ get pod web", &["1/1"]),
            ("~ logs aliased -c reads", &["127.0.0.1\tinside.example", "192.0.2.7\toutside.example"]),
            ("~ logs aliased -c calls", &["inside.example:9000 answered: hello"]),
            ("~ get pod words -o jsonpath={.status.phase}", &["Failed"]),
            ("get pod words -o jsonpath={.status.containerStatuses[*].state.terminated.message}", &["last words"]),
            ("exec web -- cat /etc/resolv.conf", &["search default.svc.cluster.local", "nameserver 10.96.0.10"]),
            ("! exec web -- sh -c 'echo beside; exit 3'", &["beside", "exit code 3"]),
            // Its monitor does not tell everywhere that it was for want of memory.
            ("~ get pod hoards -o jsonpath={.status.containerStatuses}", &[r#""exitCode":137"#]),
        ],
    );
    attaches(&cluster);
    limits(&cluster, &engine);
    let before = counts_on(&cluster, 5);
    cluster.kill().unwrap();
    cluster.restart().unwrap();
    assert_eq!(counts_on(&cluster, counted(&cluster).len() + 5), before);

    engine.kill().unwrap();
    run(&cluster, &[("~ get node wherry -o jsonpath={.status.conditions}", &["RuntimeLost"])]);
    engine.restart().unwrap();
    let ready = r#"~ get node wherry -o jsonpath={.status.conditions[?(@.type=="RuntimesReady")].status}"#;
    run(&cluster, &[(ready, &["True"])]);
    assert_eq!(counts_on(&cluster, counted(&cluster).len() + 5), before);
    let counted = counted(&cluster);
    assert_eq!(counted, (0..counted.len() as u64).collect::<Vec<_>>(), "every line once");
    run(&cluster, &[("delete pod ends web aliased words counts hoards burns --wait", &["deleted"])]);
    until("nothing is left", || Ok(engine.docker(&["ps", "-aq"])?.is_empty().then_some(()))).unwrap();
}

/// What the pod has counted.
fn counted(cluster: &Cluster) -> Vec<u64> {
    let printed = Printed::from(cluster.wherry(&["logs", "counts"]).unwrap()).out;
    printed.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Waits until it has counted further; which container that is.
fn counts_on(cluster: &Cluster, beyond: usize) -> String {
    until("it counts", || Ok((counted(cluster).len() > beyond).then_some(()))).unwrap();
    ask(cluster, &["get", "pod", "counts", "-o", FACTS])
}

#[expect(clippy::print_stderr, reason = "a part of a test that is left out says so")]
fn attaches(cluster: &Cluster) {
    match Kubectl::of(cluster) {
        Some(kubectl) => pods::is_fed(&kubectl),
        None => eprintln!("SKIPPED: kubectl attach on Podman: kubectl is not installed"),
    }
}

/// Processor time and memory, as the kernel has been told and as `top` finds.
fn limits(cluster: &Cluster, engine: &Engine) {
    let names = engine.docker(&["ps", "--format", "{{.Names}}"]).unwrap();
    let name = names.lines().find(|name| name.contains("burns_c_")).unwrap();
    let told = engine.docker(&["inspect", name, "--format", "{{.State.Pid}}"]).unwrap();
    let groups = std::fs::read_to_string(format!("/proc/{told}/cgroup")).unwrap();
    let quota = of_cgroup(&groups, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(quota.starts_with("20000"), "{quota}");
    let memory = of_cgroup(&groups, "memory", "memory.limit_in_bytes", "memory.max");
    assert_eq!(memory.trim(), (32 << 20).to_string());
    until("its use is measured", || {
        let told = Printed::from(cluster.wherry(&["top", "pod", "burns"])?).out;
        let used = told.split_whitespace().find_map(|word| word.strip_suffix('m')?.parse::<u32>().ok());
        Ok(used.filter(|milli| (1..=250).contains(milli)).map(drop))
    })
    .unwrap();
}

/// What a process' cgroup says, in the first version's controller or in the second version.
fn of_cgroup(groups: &str, controller: &str, first: &str, second: &str) -> String {
    let mut rows = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let own = rows.find(|(names, _)| names.split(',').any(|name| name == controller));
    let path = match own {
        Some((_, path)) => format!("/sys/fs/cgroup/{controller}{path}/{first}"),
        None => {
            let path = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
            format!("/sys/fs/cgroup{path}/{second}")
        }
    };
    std::fs::read_to_string(&path).unwrap_or_else(|error| format!("{path}: {error}"))
}
