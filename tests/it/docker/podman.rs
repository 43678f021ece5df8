//! The same on Podman's service: a pod's localhost, names and last words, output, exit codes, exec, and containers that outlive the
//! node's process.

use super::*;

const FACTS: &str =
    "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount} {.status.podIP}";

#[test]
fn podman_runs_pods_as_docker_does() {
    let Some(engine) = Engine::start_podman("podman_runs_pods_as_docker_does") else { return };
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
        ],
    );
    let lines = |cluster: &Cluster| -> Vec<u64> {
        let printed = Printed::from(cluster.wherry(&["logs", "counts"]).unwrap()).out;
        printed.lines().filter_map(|line| line.parse().ok()).collect()
    };
    until("it counts", || Ok((lines(&cluster).len() > 5).then_some(()))).unwrap();
    let before = ask(&cluster, &["get", "pod", "counts", "-o", FACTS]);
    cluster.kill().unwrap();
    cluster.restart().unwrap();
    let heard = lines(&cluster).len();
    until("it goes on", || Ok((lines(&cluster).len() > heard + 5).then_some(()))).unwrap();
    assert_eq!(ask(&cluster, &["get", "pod", "counts", "-o", FACTS]), before);
    let counted = lines(&cluster);
    assert_eq!(counted, (0..counted.len() as u64).collect::<Vec<_>>(), "every line once");
    run(&cluster, &[("delete pod ends web aliased words counts --wait", &["deleted"])]);
    until("nothing is left", || Ok(engine.docker(&["ps", "-aq"])?.is_empty().then_some(()))).unwrap();
}
