//! The verbs a person types, each line written once and played twice: by the project's own client always, and by stock
//! kubectl where it is installed (see [`crate::kubectl`]).
//!
//! Scenes play at the same time on one cluster, each in a namespace of its own.

mod look;
mod manifests;
mod own;
mod write;

use std::path::PathBuf;
use std::process::Command;

use wherry_tests::{Cluster, Following, Kubectl, Line, Printed, Scene, play, script, until};

use crate::WHERRY;

/// The guests that the scenes run.
pub const GUESTS: &[&str] = &["hello-http", "hello3", "batch", "log-shipper"];

/// Who is asked to carry out a line. A line that begins with a client's name and a colon is for that one only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Stock kubectl.
    Kubectl,
    /// The binary's own verbs.
    Wherry,
}

/// A scene's namespace, directory and client.
pub struct Stage<'a> {
    cluster: &'a Cluster,
    client: Client,
    namespace: &'a str,
    /// For the scene's files.
    pub directory: PathBuf,
}

impl<'a> Stage<'a> {
    fn new(cluster: &'a Cluster, client: Client, namespace: &'a str) -> Self {
        let directory = cluster.data().join("scenes").join(namespace);
        std::fs::create_dir_all(&directory).unwrap();
        let stage = Self { cluster, client, namespace, directory };
        let made = stage.run(&["create", "namespace", namespace]).unwrap();
        assert!(made.ok && made.out.contains("created"), "{made:?}");
        stage
    }

    /// Writes a file of the scene.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs those of the lines that are for this client.
    pub fn script(&self, lines: &[Line]) {
        let mine: Vec<Line> = lines.iter().filter_map(|line| self.own(line)).collect();
        script(&|words| self.run(words), &self.directory, &mine);
    }

    /// Applies a manifest given as text.
    pub fn apply(&self, text: &str) {
        let path = self.write("applied.yaml", text);
        let printed = self.run(&["apply", "-f", &path.display().to_string()]).unwrap();
        assert!(printed.ok, "{printed:?}");
    }

    /// Starts a command that goes on.
    pub fn follow(&self, words: &[&str]) -> Following {
        Following::start(self.command(words)).unwrap()
    }

    /// A command in the scene's namespace, which its words may replace by one of their own.
    pub fn command(&self, words: &[&str]) -> Command {
        let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        let place = if words.contains(&"-n") { vec![] } else { vec!["-n", self.namespace] };
        let words: Vec<&str> = words[..end].iter().chain(&place).chain(&words[end..]).copied().collect();
        match self.client {
            Client::Kubectl => Kubectl::of(self.cluster).unwrap().command(&words),
            Client::Wherry => self.cluster.command(&words),
        }
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<Printed> {
        Ok(self.command(words).output()?.into())
    }

    fn own(&self, (line, parts): &Line) -> Option<Line> {
        let (mine, other) = match self.client {
            Client::Kubectl => ("kubectl: ", "wherry: "),
            Client::Wherry => ("wherry: ", "kubectl: "),
        };
        (!line.starts_with(other)).then(|| (line.strip_prefix(mine).unwrap_or(line), *parts))
    }
}

/// A scene: its namespace, what it shows, and what it does.
pub type Act = (&'static str, &'static str, fn(&Stage<'_>));

const ACTS: &[Act] = &[
    ("applied", "manifests are applied, edited, replaced, patched", manifests::scene),
    ("created", "every simple kind is created", write::create),
    ("rolled", "deployments roll", write::rollout),
    ("deleted", "objects are deleted", write::delete),
    ("shown", "objects are shown in every form", look::get),
    ("watched", "changes are watched", look::watch),
    ("logs", "logs are read", look::logs),
];

/// Plays the scenes that both clients know, and the client's own.
pub fn perform(cluster: &Cluster, client: Client, own: &[Act]) {
    let scene = |(namespace, _, scene): &Act| {
        let (namespace, scene) = (*namespace, *scene);
        move || scene(&Stage::new(cluster, client, namespace))
    };
    let acts: Vec<(&str, _)> = ACTS.iter().chain(own).map(|act| (act.1, scene(act))).collect();
    let scenes: Vec<Scene<'_>> = acts.iter().map(|(name, scene)| (*name, scene as _)).collect();
    play(&scenes);
    // Alone: a node that takes no pods is in everybody's way.
    write::node(&Stage::new(cluster, client, "node"));
}

#[test]
fn the_verbs_do_what_they_say() {
    let cluster = Cluster::start(WHERRY).unwrap();
    for guest in GUESTS {
        cluster.load_guest(guest).unwrap();
    }
    perform(
        &cluster,
        Client::Wherry,
        &[
            ("look", "every kind is described", own::look),
            ("advice", "mistakes are answered with advice", own::advice),
            ("wide", "what is not in namespaces is described", own::cluster_wide),
        ],
    );
}

#[test]
fn what_up_is_given_is_applied_as_strictly() {
    let directory = tempfile::tempdir().unwrap();
    let map = |name: &str, field: &str| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n{field}: {{a: b}}\n")
    };
    std::fs::write(directory.path().join("maps.yaml"), map("right", "data") + &map("wrong", "date")).unwrap();
    let cluster = Cluster::start_with(WHERRY, &["-f", &directory.path().display().to_string()]).unwrap();
    until("the mistake is told", || Ok(cluster.errors().contains("unknown field \"date\"").then_some(()))).unwrap();
    let found = cluster.wherry(&["get", "cm", "-o", "name"]).unwrap();
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(found.contains("configmap/right") && !found.contains("wrong"), "{found}");
}
