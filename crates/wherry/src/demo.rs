//! `--demo`: the example images, the demo's manifests, and a view of it all becoming ready.

use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rust_embed::RustEmbed;
use serde_json::Value;
use wherry_api::kinds::Deployment;
use wherry_api::yaml;
use wherry_cli::{RolloutState, apply_manifests, rollout_state};
use wherry_client::{Client, Event, ListOptions, WatchOptions};
use wherry_image::{RegistryClient, inspect};

use crate::GUESTS;
use crate::listeners::NodePorts;

/// How long the demo's pods may take before the view gives up. Compiling six small modules on a slow core takes seconds.
const DEMO_SECONDS_MAX: u64 = 120;

#[derive(RustEmbed)]
#[folder = "../../manifests/demo"]
struct Manifests;

/// Puts every guest example into the registry as `NAME:v1`.
pub async fn load_images(registry: &RegistryClient) -> anyhow::Result<()> {
    for (name, module) in GUESTS {
        let image = format!("{name}:v1");
        inspect(module).with_context(|| image.clone())?;
        let pushed = registry.push(&image.parse()?, bytes::Bytes::from_static(module)).await;
        pushed.with_context(|| format!("cannot load the example image {image}"))?;
    }
    Ok(())
}

/// Applies the demo and shows it becoming ready.
pub async fn run(client: &Client) -> anyhow::Result<()> {
    let objects = manifests()?;
    apply_manifests(client, "default", &objects, |applied| eprintln!("{} {}", applied.name, applied.outcome)).await?;
    let patience = Duration::from_secs(DEMO_SECONDS_MAX);
    let ready = tokio::time::timeout(patience, follow(client)).await;
    ready.with_context(|| format!("the demo was not ready within {DEMO_SECONDS_MAX} s; `wherry events` says why"))?
}

/// The demo's objects.
pub fn manifests() -> anyhow::Result<Vec<Value>> {
    let mut names: Vec<_> = Manifests::iter().collect();
    names.sort();
    let mut objects = Vec::new();
    for name in names {
        let file = Manifests::get(&name).with_context(|| format!("manifests/demo/{name}"))?;
        let text = std::str::from_utf8(&file.data).with_context(|| format!("manifests/demo/{name}"))?;
        objects.extend(yaml::parse(text).with_context(|| format!("manifests/demo/{name}"))?);
    }
    Ok(objects)
}

/// What to try next.
pub fn hints(ports: NodePorts, kubeconfig: &str) {
    let NodePorts { http, https, .. } = ports;
    eprintln!(
        "\nThe demo is up:\n  http://myapp.localhost:{http}/          four replicas, in turn\n  \
         http://myapp.localhost:{http}/other     the other app, by path\n  https://other.localhost:{https}/         by host, over TLS\n\n\
         Try:\n  curl -H 'Host: myapp.localhost' http://127.0.0.1:{http}/\n  \
         KUBECONFIG={kubeconfig} kubectl get pods -o wide\n  \
         KUBECONFIG={kubeconfig} kubectl scale deployment myapp --replicas 8\n"
    );
}

async fn follow(client: &Client) -> anyhow::Result<()> {
    let api = client.namespaced::<Deployment>("default");
    let list = api.list(ListOptions::default()).await?;
    let mut view = View::new();
    let mut watch =
        api.watch(WatchOptions { resource_version: list.resource_version, ..WatchOptions::default() }).await?;
    list.items.iter().for_each(|deployment| view.show(deployment));
    while !view.all_done() {
        match watch.next().await.context("the API closed the watch")?? {
            Event::Applied(deployment) => view.show(&deployment),
            Event::Deleted(_) | Event::Bookmark(_) => {}
        }
    }
    Ok(())
}

/// A bar a deployment.
struct View {
    bars: MultiProgress,
    rows: Vec<(String, ProgressBar)>,
}

impl View {
    fn new() -> Self {
        Self { bars: MultiProgress::new(), rows: Vec::new() }
    }

    fn show(&mut self, deployment: &Deployment) {
        let name = deployment.metadata.name.clone().unwrap_or_default();
        let wanted = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
        let ready = deployment.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0);
        let bar = self.bar(&name, u64::try_from(wanted).unwrap_or(0));
        bar.set_position(u64::try_from(ready).unwrap_or(0));
        if rollout_state(deployment) == RolloutState::Done {
            bar.finish_with_message("ready");
        }
    }

    fn bar(&mut self, name: &str, wanted: u64) -> ProgressBar {
        if let Some((_, bar)) = self.rows.iter().find(|(row, _)| row == name) {
            return bar.clone();
        }
        let bar = self.bars.add(ProgressBar::new(wanted));
        if let Ok(style) = ProgressStyle::with_template("{prefix:>12} [{bar:24}] {pos}/{len} {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_owned());
        self.rows.push((name.to_owned(), bar.clone()));
        bar
    }

    fn all_done(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|(_, bar)| bar.is_finished())
    }
}
