//! Deployments and ReplicaSets.

use serde_json::Value;
use wherry_api::kinds::{Kind, ReplicaSet};
use wherry_client::{Client, ListOptions};

use super::page::Page;
use super::pod::{conditions, items, template};
use crate::get::pairs_of;
use crate::objects::{Objects, text};
use crate::template::plain;

/// The page of a deployment, with the replica sets that it has.
pub async fn deployment(client: &Client, object: &Value, page: &mut Page) -> anyhow::Result<()> {
    page.row("Selector", pairs_of(object, "/spec/selector/matchLabels", ","));
    let number = |pointer: &str| object.pointer(pointer).map_or_else(|| "0".to_owned(), plain);
    page.row(
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            number("/spec/replicas"),
            number("/status/updatedReplicas"),
            number("/status/replicas"),
            number("/status/availableReplicas"),
            number("/status/unavailableReplicas"),
        ),
    );
    let update = format!(
        "{} max unavailable, {} max surge",
        number("/spec/strategy/rollingUpdate/maxUnavailable"),
        number("/spec/strategy/rollingUpdate/maxSurge")
    );
    page.row("Strategy", text(object, "/spec/strategy/type"));
    if object.pointer("/spec/strategy/rollingUpdate").is_some() {
        page.row("Rolling Update", update);
    }
    page.row("Min Ready Seconds", number("/spec/minReadySeconds"));
    if object.pointer("/spec/paused") == Some(&Value::Bool(true)) {
        page.row("Paused", "true");
    }
    page.append(template(object.pointer("/spec").unwrap_or(&Value::Null)));
    conditions(object, page);
    let uid = text(object, "/metadata/uid");
    let sets = Objects::new(client, ReplicaSet::resource(), Some(text(object, "/metadata/namespace")));
    let sets = sets.list(ListOptions::default()).await?;
    let owned = |set: &&Value| items(set, "/metadata/ownerReferences").iter().any(|owner| text(owner, "/uid") == uid);
    let words = |set: &Value| {
        let count = |pointer: &str| set.pointer(pointer).map_or_else(|| "0".to_owned(), plain);
        let (ready, wanted) = (count("/status/readyReplicas"), count("/spec/replicas"));
        format!("{} ({ready} of {wanted} ready)", text(set, "/metadata/name"))
    };
    let alive = |set: &&Value| set.pointer("/spec/replicas").and_then(Value::as_i64) != Some(0);
    page.list("Replica Sets", &sets.iter().filter(owned).filter(alive).map(words).collect::<Vec<_>>());
    Ok(())
}

/// The page of a replica set.
pub fn replica_set(object: &Value, page: &mut Page) {
    page.row("Selector", pairs_of(object, "/spec/selector/matchLabels", ","));
    let number = |pointer: &str| object.pointer(pointer).map_or_else(|| "0".to_owned(), plain);
    let (current, wanted) = (number("/status/replicas"), number("/spec/replicas"));
    page.row("Replicas", format!("{current} current / {wanted} desired, {} ready", number("/status/readyReplicas")));
    page.append(template(object.pointer("/spec").unwrap_or(&Value::Null)));
}
