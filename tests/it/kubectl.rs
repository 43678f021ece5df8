//! Stock kubectl against the real binary, as people use it: every verb of theirs, and what it prints.
//!
//! Scenes play at the same time on one cluster, each in a namespace of its own.

mod look;
mod manifests;
mod troubles;
mod write;

use std::path::PathBuf;

use wherry_tests::{Cluster, Kubectl, Line, play, script};

use crate::WHERRY;

/// A scene's namespace, directory and kubectl.
pub struct Stage<'a> {
    /// kubectl in the namespace.
    pub kubectl: Kubectl<'a>,
    /// For the scene's files.
    pub directory: PathBuf,
}

impl<'a> Stage<'a> {
    fn new(cluster: &'a Cluster, namespace: &'a str) -> Self {
        let kubectl = Kubectl::of(cluster).unwrap();
        let made = kubectl.run(&["create", "namespace", namespace]).unwrap();
        assert!(made.ok && made.out.contains("created"), "{made:?}");
        let directory = cluster.data().join("scenes").join(namespace);
        std::fs::create_dir_all(&directory).unwrap();
        Self { kubectl: kubectl.within(namespace), directory }
    }

    /// Writes a file of the scene.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs lines.
    pub fn script(&self, lines: &[Line]) {
        script(&|words| self.kubectl.run(words), &self.directory, lines);
    }

    /// Applies a manifest given as text.
    pub fn apply(&self, text: &str) {
        let path = self.write("applied.yaml", text);
        let printed = self.kubectl.run(&["apply", "-f", &path.display().to_string()]).unwrap();
        assert!(printed.ok, "{printed:?}");
    }
}

#[test]
fn kubectl_as_people_use_it() {
    let cluster = Cluster::start(WHERRY).unwrap();
    if Kubectl::of(&cluster).is_none() {
        eprintln!("SKIPPED: kubectl is not installed");
        return;
    }
    for guest in ["hello-http", "hello3", "batch", "misbehave", "log-shipper"] {
        cluster.load_guest(guest).unwrap();
    }
    let scene = |namespace: &'static str, scene: fn(&Stage<'_>)| {
        let cluster = &cluster;
        move || scene(&Stage::new(cluster, namespace))
    };
    play(&[
        ("manifests are applied, edited, replaced, patched", &scene("applied", manifests::scene)),
        ("every simple kind is created", &scene("created", write::create)),
        ("deployments roll", &scene("rolled", write::rollout)),
        ("objects are deleted", &scene("deleted", write::delete)),
        ("objects are shown in every form", &scene("shown", look::get)),
        ("changes are watched", &scene("watched", look::watch)),
        ("logs are read", &scene("logs", look::logs)),
        ("every kind is described", &scene("described", look::describe)),
        ("pods in trouble say why", &scene("troubles", troubles::scene)),
    ]);
    // Alone: a node that takes no pods is in everybody's way.
    write::node(&Stage::new(&cluster, "node"));
}
