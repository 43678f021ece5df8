//! Images that the engine pulls: from registries that want a login, slowly, and not at all.

use std::fs;

use wherry_tests::{Asks, LOGIN, Registry};

use super::*;
use crate::pulls::{PULLED_ALREADY, filled};

/// A registry that the engine reaches, with images of the engine under names of its own.
pub(super) fn registry(engine: &Engine, asks: Asks, images: &[(&str, &str)]) -> Registry {
    let registry = Registry::start(asks).unwrap();
    registry.reach(engine).unwrap();
    let config = tempfile::tempdir().unwrap();
    fs::write(config.path().join("config.json"), registry.docker_config(LOGIN.1)).unwrap();
    for (image, name) in images {
        let name = format!("{}/{name}", registry.address());
        engine.docker(&["tag", image, &name]).unwrap();
        engine.docker(&["--config", &config.path().display().to_string(), "push", &name]).unwrap();
        engine.docker(&["rmi", &name]).unwrap();
    }
    registry
}

fn pull_as_kubernetes_does(asks: Asks) {
    let test = format!("private_images_are_pulled_with_the_logins_of_pods ({asks:?})");
    let Some(engine) = Engine::start(&test) else { return };
    let registry = registry(&engine, asks, &[("tools:1", "team/tools:1"), ("tools:1", "public/tools:1")]);
    let cluster = cluster(&engine);
    cluster.apply("default", &filled(include_str!("pulls.yaml"), &registry)).unwrap();
    run(
        &cluster,
        &[
            ("~ describe pod anybody", &["Failed to pull image", "access denied", "Error: ErrImagePull"]),
            ("~ describe pod anybody", &["Back-off pulling image", "Error: ImagePullBackOff"]),
            (
                "~ get pod anybody -o jsonpath={.status.containerStatuses[0].state.waiting.reason}",
                &["ImagePullBackOff"],
            ),
            (
                "~ describe pod refused",
                &["Failed to pull image", "Unable to retrieve some image pull secrets (missing)"],
            ),
            ("~ get pod named -o jsonpath={.status.phase}", &["Succeeded"]),
            (
                "~ describe pod named",
                &["Pulling image", "Successfully pulled image", "including waiting). Image size: "],
            ),
            ("~ get pod by-account -o jsonpath={.status.phase}", &["Succeeded"]),
            ("get pod by-account -o jsonpath={.spec.imagePullSecrets}", &["pull"]),
            ("logs by-account", &["it runs"]),
            ("~ describe pod by-account", &["Successfully pulled image"]),
        ],
    );
    // An engine asks a registry of plain logins for nothing without one.
    if asks == Asks::Token {
        run(&cluster, &[("~ get pod public -o jsonpath={.status.phase}", &["Succeeded"])]);
    }
    cluster.apply("default", &filled(include_str!("here.yaml"), &registry)).unwrap();
    run(&cluster, &PULLED_ALREADY);
}

#[test]
fn private_images_are_pulled_with_the_logins_of_pods() {
    pull_as_kubernetes_does(Asks::Token);
}

#[test]
fn a_registry_may_ask_for_a_plain_login() {
    pull_as_kubernetes_does(Asks::Login);
}

/// An image whose content cannot be made smaller.
pub(super) fn large(engine: &Engine, name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (random, archive) = (directory.path().join("large"), directory.path().join("large.tar"));
    let mut bytes = vec![0; 16 << 20];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    fs::write(&random, bytes).unwrap();
    for program in ["echo", "sleep"] {
        fs::copy("/bin/busybox", directory.path().join(program)).unwrap();
    }
    let mut pack = std::process::Command::new("tar");
    pack.arg("-cf").arg(&archive).arg("-C").arg(directory.path()).args(["large", "echo", "sleep"]);
    assert!(pack.status().unwrap().success());
    engine.docker(&["import", "--change", "ENV PATH=/", &archive.display().to_string(), name]).unwrap();
}

/// A cluster, its engine, and a registry that has a large image for anybody and is held.
fn held(test: &str, name: &'static str) -> Option<(Engine, Registry, Cluster)> {
    let engine = Engine::start(test)?;
    let image = format!("{name}:1");
    large(&engine, &image);
    let registry = registry(&engine, Asks::Token, &[(&image, &format!("public/{name}:1"))]);
    engine.docker(&["rmi", &image]).unwrap();
    let cluster = cluster(&engine);
    registry.hold();
    let manifest = filled(include_str!("large.yaml"), &registry).replace("NAME", name);
    cluster.apply("default", &manifest).unwrap();
    Some((engine, registry, cluster))
}

#[test]
fn a_long_pull_is_told_of() {
    let Some((_engine, registry, cluster)) = held("a_long_pull_is_told_of", "long") else { return };
    let told = || ask(&cluster, &["describe", "pod", "long"]).matches(" MB").count();
    until("it is told how far the pull is", || {
        registry.pass_one();
        Ok((told() > 0).then_some(()))
    })
    .unwrap();
    registry.open();
    run(
        &cluster,
        &[
            ("~ get pod long -o jsonpath={.status.phase}", &["Succeeded"]),
            ("~ describe pod long", &["Successfully pulled image"]),
        ],
    );
    assert!((1..=3).contains(&told()), "told {} times", told());
}

#[test]
fn a_pull_that_hangs_is_ended_and_tried_again() {
    let test = "a_pull_that_hangs_is_ended_and_tried_again";
    let Some((_engine, registry, cluster)) = held(test, "hangs") else { return };
    let stalled: Line = ("~ describe pod hangs", &["the pull has stood still for 60 s"]);
    // The limit is as long as the patience of a line.
    drop(until("the limit is almost over", || {
        Ok(ask(&cluster, &["describe", "pod", "hangs"]).contains(stalled.1[0]).then_some(()))
    }));
    run(&cluster, &[stalled]);
    registry.open();
    run(&cluster, &[("~ get pod hangs -o jsonpath={.status.phase}", &["Succeeded"])]);
}
