//! Images that no pod needs go when the disk is too full: modules, and Linux images that the node has brought; never those that are
//! the engine's owner's.

use std::fs;

use wherry_tests::{Asks, Registry};

use super::pulls::{large, registry};
use super::*;
use crate::pulls::filled;

/// Any disk is too full for these.
const FLAGS: [&str; 6] =
    ["--image-gc-high-threshold", "1", "--image-gc-low-threshold", "0", "--minimum-image-ttl-duration", "2s"];
const TOLD: &str = "~ get node wherry -o jsonpath={.status.images[*].names}";

/// An engine with images of its owner, and a registry with two more.
fn supplied(engine: &Engine) -> Registry {
    for name in ["stays:1", "goes:1"] {
        large(engine, name);
    }
    let registry = registry(engine, Asks::Token, &[("stays:1", "public/stays:1"), ("goes:1", "public/goes:1")]);
    engine.docker(&["rmi", "stays:1", "goes:1"]).unwrap();
    registry
}

fn modules(cluster: &Cluster) -> usize {
    fs::read_dir(cluster.data().join("wasm/modules")).unwrap().count()
}

#[test]
fn images_that_nobody_uses_go_when_the_disk_is_full() {
    let Some(engine) = Engine::start("images_that_nobody_uses_go_when_the_disk_is_full") else { return };
    let registry = supplied(&engine);
    let socket = engine.socket().display().to_string();
    let cluster = Cluster::start_with(WHERRY, &[&["--docker", &socket][..], &FLAGS].concat()).unwrap();
    for guest in ["hello-http", "echo-tcp"] {
        cluster.load_guest(guest).unwrap();
    }
    let pods = filled(include_str!("collected.yaml"), &registry);
    cluster.apply("default", &pods).unwrap();
    let all_run: [Line; 3] = [
        ("~ get pods stays goes theirs", &["not: 0/1"]),
        ("~ get pods module-stays module-goes", &["not: 0/1"]),
        (TOLD, &["public/stays:1", "public/goes:1", "tools:1", "web:1", "hello-http:v1", "echo-tcp:v1"]),
    ];
    run(&cluster, &all_run);
    let images = || engine.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).unwrap();
    assert_eq!((modules(&cluster), images().matches("/public/").count()), (2, 2));

    run(&cluster, &[("delete pod goes theirs module-goes --wait", &["deleted"])]);
    until("what nobody uses is gone", || {
        Ok((modules(&cluster) == 1 && !images().contains("public/goes:1")).then_some(()))
    })
    .unwrap();
    let left = images();
    assert!(
        ["public/stays:1", "tools:1", "web:1", "wherry.dev/pause:1"].iter().all(|name| left.contains(name)),
        "{left}"
    );
    run(
        &cluster,
        &[
            (TOLD, &["public/stays:1", "hello-http:v1", "tools:1", "not: public/goes:1", "not: echo-tcp:v1"]),
            (
                "~ describe node wherry",
                &["FreeDiskSpaceFailed", "Failed to garbage collect required amount of images."],
            ),
        ],
    );
    // They come again when they are wanted again.
    cluster.apply("default", &pods).unwrap();
    run(&cluster, &all_run);
}
