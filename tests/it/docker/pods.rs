//! Pods of Linux images: what they print, how they end, what they may do, what they see.

use wherry_tests::Kubectl;

use super::*;

#[test]
fn pods_of_linux_images_run_and_end_as_kubernetes_says() {
    let Some(engine) = Engine::start("pods_of_linux_images_run_and_end_as_kubernetes_says") else { return };
    let cluster = cluster(&engine);
    cluster.load_guest("hello-http").unwrap();
    cluster.apply("default", include_str!("pods.yaml")).unwrap();
    run(
        &cluster,
        &[
            (
                "~ get pod ends -o jsonpath={.status}",
                &[r#""phase":"Failed""#, r#""exitCode":7"#, r#""reason":"Error""#],
            ),
            ("logs ends", &["to stdout", "to stderr", "A=b c", "ends"]),
            ("~ get pod hoards -o jsonpath={.status.containerStatuses}", &["OOMKilled", r#""exitCode":137"#]),
            ("~ get pod sees -o jsonpath={.status.phase}", &["Succeeded"]),
            ("logs sees -c looks", &["from a ConfigMap", "from the module's neighbour", "uid=1000 gid=2000", "/tmp"]),
            ("logs sees -c looks", &["Read-only file system"]),
            ("~ get pod waits -o jsonpath={.status.phase}", &["Running"]),
            ("get pod waits -o jsonpath={.status.containerStatuses[0].containerID}", &["docker://"]),
            ("~ get pod not-linux -o jsonpath={.status}", &["is a wasm module", "runtime class"]),
            ("~ get pod not-wasm -o jsonpath={.status}", &["ErrImage", "web:1"]),
            ("~ get pod nowhere -o jsonpath={.status}", &["ErrImageNeverPull"]),
            ("~ get pod root -o jsonpath={.status}", &["runAsNonRoot"]),
        ],
    );
    executes(&cluster);
    run(&cluster, &[("delete pod waits --wait", &["deleted"])]);
    until(
        "the containers of a pod go with it",
        || Ok((!engine.docker(&["ps", "-a"])?.contains("waits")).then_some(())),
    )
    .unwrap();
    let mut cluster = cluster;
    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
    assert_eq!(engine.docker(&["ps", "-aq"]).unwrap(), "", "a node that is stopped leaves nothing");
}

#[test]
fn an_archive_of_docker_save_is_an_image_of_the_cluster() {
    let Some(engine) = Engine::start("an_archive_of_docker_save_is_an_image_of_the_cluster") else { return };
    let cluster = cluster(&engine);
    let archive = cluster.data().join("tools.tar").display().to_string();
    engine.docker(&["save", "tools:1", "-o", &archive]).unwrap();
    let digest = engine.docker(&["inspect", "tools:1", "--format", "{{.Id}}"]).unwrap();
    engine.docker(&["rmi", "tools:1"]).unwrap();
    let loaded = ask(&cluster, &["image", "load", &archive, "team/loaded:1"]);
    assert!(loaded.contains("team/loaded:1 loaded (Linux image, 1 layers)"), "{loaded}");
    cluster.apply("default", include_str!("loaded.yaml")).unwrap();
    run(
        &cluster,
        &[
            ("image ls", &["team/loaded:1"]),
            ("~ get pod loaded -o jsonpath={.status.phase}", &["Succeeded"]),
            ("logs loaded", &["it runs"]),
            ("~ get pod as-module -o jsonpath={.status}", &["is a Linux image", "runtime class"]),
            ("~ get events", &["Loading image", "team/loaded:1"]),
        ],
    );
    let id = ask(&cluster, &["get", "pod", "loaded", "-o", "jsonpath={.status.containerStatuses[0].imageID}"]);
    assert_eq!(id, digest, "the same image as it was");
    std::fs::write(&archive, "neither a module nor an archive").unwrap();
    let printed = Printed::from(cluster.wherry(&["image", "load", &archive, "x:1"]).unwrap());
    assert!(!printed.ok && printed.err.contains("not a valid wasm module"), "{printed:?}");
}

/// A process beside a container's own, and a container's own: stdin, output, exit code.
#[expect(clippy::print_stderr, reason = "a part of a test that is left out says so")]
fn executes(cluster: &Cluster) {
    let Some(kubectl) = Kubectl::of(cluster) else {
        return eprintln!("SKIPPED: kubectl exec of a Linux container: kubectl is not installed");
    };
    let words = ["exec", "-i", "waits", "--", "sh", "-c", "cat; echo more >&2; exit 3"];
    let Printed { ok, out, err } = kubectl.run_with(&words, "by stdin").unwrap();
    assert!(!ok && out == "by stdin" && err.contains("more") && err.contains("exit code 3"), "{out} {err}");
    is_fed(&kubectl);
}

/// Attaches to a container.
pub(super) fn is_fed(kubectl: &Kubectl<'_>) {
    // The end of what is typed is the end of the container's input.
    let words =
        ["run", "fed", "-i", "--rm", "--restart=Never", "--image=tools:1", "--image-pull-policy=Never", "--", "cat"];
    let Printed { ok, out, err } = kubectl.run_with(&words, "typed\n").unwrap();
    assert!(ok && out.contains("typed"), "{out} {err}");
}

#[test]
fn a_port_is_in_use_whichever_kind_of_container_has_it() {
    let Some(engine) = Engine::start("a_port_is_in_use_whichever_kind_of_container_has_it") else { return };
    let cluster = cluster(&engine);
    cluster.load_guest("echo-tcp").unwrap();
    cluster.apply("default", include_str!("ports.yaml")).unwrap();
    run(
        &cluster,
        &[
            ("~ get pod container-first -o jsonpath={.status.phase}", &["Failed"]),
            ("logs container-first -c m", &["AddrInUse", "not: listening"]),
            ("~ get pod module-first -o jsonpath={.status.phase}", &["Failed"]),
            ("logs module-first -c c", &["ddress already in use"]),
            ("logs module-first -c m", &["listening on 7000"]),
        ],
    );
}
