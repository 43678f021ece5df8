//! `drain`: closes nodes to new pods, and asks for the eviction of those that they have, as far as disruption budgets let them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use wherry_api::kinds::Pod;
use wherry_api::{Error, Kind, Reason};
use wherry_client::{Client, ListOptions};

use crate::args::{CordonArgs, DrainArgs};
use crate::node::cordon;
use crate::wait::within;

/// How long after a refusal by a budget to ask again.
const RETRY: Duration = Duration::from_secs(5);
/// How often a pod is looked at that is on its way.
const LOOK: Duration = Duration::from_millis(200);
/// How many evictions are waited for at once.
const TOGETHER_MAX: usize = 256;
/// As good as forever, for `--timeout 0`.
const FOREVER: Duration = Duration::from_secs(7 * 24 * 3600);
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Drains the nodes, one after the other.
pub async fn run(args: DrainArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    for node in &args.nodes {
        let name = node.trim_start_matches("node/");
        cordon(CordonArgs::of(name, &args.cluster), true).await?;
        let pods = pods_of(&client, name, &args).await?;
        let most = if args.timeout.is_zero() { FOREVER } else { args.timeout };
        within(most, evict_all(&client, pods, &args)).await?;
        sayln!("node/{name} drained");
    }
    Ok(())
}

/// The pods to be evicted; an error that names those that would be lost.
async fn pods_of(client: &Client, node: &str, args: &DrainArgs) -> anyhow::Result<Vec<Pod>> {
    let options = ListOptions {
        fields: format!("spec.nodeName={node}"),
        labels: args.pod_selector.clone(),
        ..ListOptions::default()
    };
    let pods = client.all::<Pod>().list(options).await?.items;
    let mut faults: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut chosen = Vec::new();
    for pod in pods {
        match judge(&pod, args) {
            Judgement::Skip => {}
            Judgement::Evict => chosen.push(pod),
            Judgement::Refuse(why) => faults.entry(why).or_default().push(pod.key().to_string()),
        }
    }
    if faults.is_empty() {
        return Ok(chosen);
    }
    let told: Vec<String> = faults.iter().map(|(why, pods)| format!("{why}: {}", pods.join(", "))).collect();
    bail!("unable to drain node \"{node}\" due to error: cannot delete {}", told.join(", cannot delete "))
}

#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Skip,
    Evict,
    Refuse(&'static str),
}

fn judge(pod: &Pod, args: &DrainArgs) -> Judgement {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let is_mirror = pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR));
    match owner.map(|owner| owner.kind.as_str()) {
        _ if is_mirror => Judgement::Skip,
        _ if matches!(phase, "Succeeded" | "Failed") => Judgement::Evict,
        Some("DaemonSet") if args.ignore_daemonsets => Judgement::Skip,
        Some("DaemonSet") => Judgement::Refuse("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"),
        None if !args.force => Judgement::Refuse("Pods that declare no controller (use --force to override)"),
        _ if volumes.iter().any(|volume| volume.empty_dir.is_some()) && !args.delete_emptydir_data => {
            Judgement::Refuse("Pods with local storage (use --delete-emptydir-data to override)")
        }
        _ => Judgement::Evict,
    }
}

async fn evict_all(client: &Client, pods: Vec<Pod>, args: &DrainArgs) -> anyhow::Result<()> {
    let evictions = pods.into_iter().map(|pod| evict(client, pod, args.grace_period));
    stream::iter(evictions).buffer_unordered(TOGETHER_MAX).try_collect::<()>().await
}

/// Asks until the budget lets the pod go, and waits until it is gone.
async fn evict(client: &Client, pod: Pod, grace: Option<i64>) -> anyhow::Result<()> {
    let key = pod.key();
    let pods = client.namespaced::<Pod>(&key.namespace);
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let mut options = json!({"preconditions": {"uid": uid}});
    if let (Some(grace), Some(map)) = (grace, options.as_object_mut()) {
        map.insert("gracePeriodSeconds".to_owned(), grace.into());
    }
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": key.name, "namespace": key.namespace}, "deleteOptions": options,
    });
    eprintln!("evicting pod {key}");
    loop {
        match pods.post(&key.name, "eviction", &eviction).await {
            Ok(()) => break,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) if error.reason == Reason::TooManyRequests => {
                eprintln!(
                    "error when evicting pods/\"{}\" -n \"{}\" (will retry after 5s): {error}",
                    key.name, key.namespace
                );
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot evict pod {key}")),
        }
    }
    loop {
        match pods.get(&key.name).await {
            Ok(found) if found.metadata.uid.as_deref() == Some(&uid) => tokio::time::sleep(LOOK).await,
            Err(error) if !is_gone(&error) => return Err(error.into()),
            _ => break,
        }
    }
    sayln!("pod/{} evicted", key.name);
    Ok(())
}

fn is_gone(error: &Error) -> bool {
    matches!(error.reason, Reason::NotFound | Reason::Conflict)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        args: DrainArgs,
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        let check = |pod: &str, flags: &str, expected: &str| {
            let object = wherry_api::yaml::parse(&format!("{{{pod}}}")).unwrap().remove(0);
            let pod: Pod = serde_json::from_value(object).unwrap();
            let Flags { args } = Flags::parse_from(["drain", "n"].into_iter().chain(flags.split_whitespace()));
            let found = format!("{:?}", judge(&pod, &args));
            assert!(found.contains(expected), "{flags}: wanted {expected} in {found}");
        };
        let owned = |kind: &str, spec: &str| {
            let owner = format!("{{apiVersion: v1, kind: {kind}, name: o, uid: u, controller: true}}");
            format!("metadata: {{name: p, ownerReferences: [{owner}]}}, spec: {{containers: []{spec}}}")
        };
        let bare = "metadata: {name: p}, spec: {containers: []}";
        check(bare, "", "declare no controller");
        check(bare, "--force", "Evict");
        check("metadata: {name: p}, spec: {containers: []}, status: {phase: Succeeded}", "", "Evict");
        check("spec: {containers: []}, metadata: {name: p, annotations: {kubernetes.io/config.mirror: x}}", "", "Skip");
        check(&owned("ReplicaSet", ""), "", "Evict");
        check(&owned("DaemonSet", ""), "", "DaemonSet-managed");
        check(&owned("DaemonSet", ""), "--ignore-daemonsets", "Skip");
        let volume = ", volumes: [{name: v, emptyDir: {}}]";
        check(&owned("ReplicaSet", volume), "", "local storage");
        check(&owned("ReplicaSet", volume), "--delete-emptydir-data", "Evict");
    }
}
