//! Modules from private registries: with the logins of the pod and of its account, by the pull policy.

use std::path::Path;

use wherry_tests::{Asks, Cluster, LOGIN, Line, Printed, Registry, script};

use crate::WHERRY;

/// What becomes of the pods of `here.yaml`, whose image was pulled by others, and of those that had no right to it.
pub const PULLED_ALREADY: [Line; 6] = [
    ("~ get pod again -o jsonpath={.status.phase}", &["Succeeded"]),
    ("~ describe pod again", &["already present on machine", "not: Pulling image"]),
    ("~ get pod never -o jsonpath={.status.phase}", &["Succeeded"]),
    ("~ describe pod elsewhere", &["ErrImageNeverPull", "not: Pulling image"]),
    ("get pod anybody -o jsonpath={.status.phase}", &["Pending"]),
    ("get pod refused -o jsonpath={.status.phase}", &["Pending"]),
];

/// A registry that has a guest example for who has the login, and for anybody.
pub fn registry(asks: Asks, guest: &str) -> Registry {
    let registry = Registry::start(asks).unwrap();
    let (_, module) = wherry::GUESTS.iter().find(|(name, _)| *name == guest).unwrap();
    for below in ["team", "public"] {
        registry.add_module(&format!("{below}/{guest}"), "v1", module);
    }
    registry
}

/// Manifests with the registry's address, a right login and a wrong one in their places.
pub fn filled(manifests: &str, registry: &Registry) -> String {
    let text = manifests.replace("REGISTRY", &registry.address());
    text.replace("RIGHT", &registry.docker_config(LOGIN.1)).replace("WRONG", &registry.docker_config("wrong"))
}

fn run(cluster: &Cluster, lines: &[Line]) {
    script(&|words| Ok(Printed::from(cluster.wherry(words)?)), Path::new("."), lines);
}

fn pull_as_kubernetes_does(asks: Asks) {
    let registry = registry(asks, "batch");
    let cluster = Cluster::start(WHERRY).unwrap();
    cluster.apply("default", &filled(include_str!("pulls/pods.yaml"), &registry)).unwrap();
    run(
        &cluster,
        &[
            ("~ describe pod anybody", &["Failed to pull image", "access denied", "Error: ErrImagePull"]),
            ("~ describe pod anybody", &["Back-off pulling image", "Error: ImagePullBackOff"]),
            ("~ describe pod refused", &["Failed to pull image", "access denied", "401 Unauthorized"]),
            ("~ get pod public -o jsonpath={.status.phase}", &["Succeeded"]),
            ("~ get pod named -o jsonpath={.status.phase}", &["Succeeded"]),
            (
                "~ describe pod named",
                &["Pulling image", "Successfully pulled image", "including waiting). Image size: "],
            ),
            ("~ get pod by-account -o jsonpath={.status.phase}", &["Succeeded"]),
            ("logs by-account", &["it runs"]),
        ],
    );
    cluster.apply("default", &filled(include_str!("pulls/here.yaml"), &registry)).unwrap();
    run(&cluster, &PULLED_ALREADY);
}

#[test]
fn private_modules_are_pulled_with_the_logins_of_pods() {
    pull_as_kubernetes_does(Asks::Token);
}

#[test]
fn a_registry_may_ask_for_a_plain_login() {
    pull_as_kubernetes_does(Asks::Login);
}
