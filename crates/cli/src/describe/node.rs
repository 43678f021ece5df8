//! Nodes, with the pods that are on them.

use serde_json::Value;
use wherry_api::kinds::{Kind, Pod};
use wherry_client::{Client, ListOptions};

use super::page::Page;
use super::pod::{conditions, items};
use crate::get::pairs_of;
use crate::objects::{Objects, text};
use crate::template::plain;

/// How many pods are shown by name.
const PODS_SHOWN_MAX: usize = 100;

/// The page of a node.
pub async fn page(client: &Client, node: &Value, page: &mut Page) -> anyhow::Result<()> {
    let taint = |taint: &Value| {
        let value = Some(text(taint, "/value")).filter(|value| !value.is_empty()).map(|value| format!("={value}"));
        format!("{}{}:{}", text(taint, "/key"), value.unwrap_or_default(), text(taint, "/effect"))
    };
    page.list("Taints", &items(node, "/spec/taints").iter().map(taint).collect::<Vec<_>>());
    page.row("Unschedulable", node.pointer("/spec/unschedulable").map_or_else(|| "false".to_owned(), plain));
    conditions(node, page);
    let addresses = items(node, "/status/addresses").iter();
    let addresses = addresses.map(|address| format!("{} {}", text(address, "/type"), text(address, "/address")));
    page.list("Addresses", &addresses.collect::<Vec<_>>());
    page.row("Capacity", pairs_of(node, "/status/capacity", ", "));
    page.row("Allocatable", pairs_of(node, "/status/allocatable", ", "));
    page.row("Pod CIDR", text(node, "/spec/podCIDR"));
    page.title("System");
    page.inside(|page| page.fields(node.pointer("/status/nodeInfo").unwrap_or(&Value::Null), &[]));
    let fields = format!("spec.nodeName={}", text(node, "/metadata/name"));
    let pods =
        Objects::new(client, Pod::resource(), None).list(ListOptions { fields, ..ListOptions::default() }).await?;
    let live: Vec<&Value> =
        pods.iter().filter(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")).collect();
    page.title(&format!("Pods ({} that have not ended)", live.len()));
    page.inside(|page| {
        for pod in live.iter().take(PODS_SHOWN_MAX) {
            page.line(format!("{}/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name")));
        }
        if live.len() > PODS_SHOWN_MAX {
            page.line(format!("… and {} more", live.len() - PODS_SHOWN_MAX));
        }
    });
    Ok(())
}
