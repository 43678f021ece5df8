//! `top`: what nodes and pods use of CPU and memory at present.

use anyhow::{Context, bail};
use serde_json::Value;
use wherry_api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use wherry_api::kinds::{Kind, Node};
use wherry_api::quantity;
use wherry_client::{Https, ListOptions, escape};

use crate::args::{SortBy, TopNodesArgs, TopPodsArgs, TopVerb};
use crate::grid::Grid;
use crate::objects::{Objects, text};

const GROUP: &str = "/apis/metrics.k8s.io/v1beta1";

/// Thousandths of a core, and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    milli: i64,
    bytes: i64,
}

impl Used {
    /// What an object with fields `cpu` and `memory` says.
    fn of(amounts: &Value) -> Self {
        let amount = |name: &str| Quantity(text(amounts, name).to_owned());
        let milli = quantity::milli(&amount("/cpu")).unwrap_or(0);
        Self { milli, bytes: quantity::units(&amount("/memory")).unwrap_or(0) }
    }

    fn and(self, other: Self) -> Self {
        Self { milli: self.milli.saturating_add(other.milli), bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn cells(self) -> [String; 2] {
        [format!("{}m", self.milli), format!("{}Mi", self.bytes >> 20)]
    }

    fn key(self, by: Option<SortBy>) -> i64 {
        match by {
            Some(SortBy::Cpu) => -self.milli,
            Some(SortBy::Memory) => -self.bytes,
            None => 0,
        }
    }
}

/// Prints it.
pub async fn run(verb: TopVerb) -> anyhow::Result<()> {
    match verb {
        TopVerb::Node(args) => nodes(args).await,
        TopVerb::Pod(args) => pods(args).await,
    }
}

async fn nodes(args: TopNodesArgs) -> anyhow::Result<()> {
    let https = Https::new(&args.cluster.load()?)?;
    let mut found = fetch(&https, "nodes", args.name.as_deref(), &args.selector).await?;
    found.sort_by_key(|node| Used::of(node.get("usage").unwrap_or(&Value::Null)).key(args.sort_by));
    let all = Objects::new(&args.cluster.client()?, Node::resource(), None).list(ListOptions::default()).await?;
    let mut grid = Grid::new(["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]);
    for node in &found {
        let name = text(node, "/metadata/name");
        let has = all.iter().find(|node| text(node, "/metadata/name") == name);
        let has = Used::of(has.and_then(|node| node.pointer("/status/allocatable")).unwrap_or(&Value::Null));
        let used = Used::of(node.get("usage").unwrap_or(&Value::Null));
        let [cpu, memory] = used.cells();
        grid.add([name.to_owned(), cpu, share(used.milli, has.milli), memory, share(used.bytes, has.bytes)]);
    }
    say!("{grid}");
    Ok(())
}

async fn pods(args: TopPodsArgs) -> anyhow::Result<()> {
    let https = Https::new(&args.cluster.load()?)?;
    let place = match args.cluster.scope(args.all_namespaces) {
        Some(namespace) => format!("namespaces/{}/pods", escape(namespace)),
        None => "pods".to_owned(),
    };
    let mut found = fetch(&https, &place, args.name.as_deref(), &args.selector).await?;
    found.sort_by_key(|pod| whole(pod).key(args.sort_by));
    let headings = ["NAMESPACE", if args.containers { "POD" } else { "NAME" }, "NAME", "CPU(cores)", "MEMORY(bytes)"];
    let wanted = [args.all_namespaces, true, args.containers, true, true];
    let chosen = |cells: [String; 5]| cells.into_iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(cell, _)| cell);
    let mut grid = Grid::new(chosen(headings.map(str::to_owned)));
    for pod in &found {
        let [namespace, name] = ["/metadata/namespace", "/metadata/name"].map(|pointer| text(pod, pointer).to_owned());
        let rows: Vec<(String, Used)> = if args.containers {
            containers(pod).map(|container| (text(container, "/name").to_owned(), used(container))).collect()
        } else {
            vec![(String::new(), whole(pod))]
        };
        for (container, used) in rows {
            let [cpu, memory] = used.cells();
            grid.add(chosen([namespace.clone(), name.clone(), container, cpu, memory]));
        }
    }
    say!("{grid}");
    Ok(())
}

async fn fetch(https: &Https, place: &str, name: Option<&str>, selector: &str) -> anyhow::Result<Vec<Value>> {
    let path = match name {
        Some(name) => format!("{GROUP}/{place}/{}", escape(name)),
        None => format!("{GROUP}/{place}?labelSelector={}", escape(selector)),
    };
    let answer: Value = serde_json::from_slice(&https.fetch(&path).await?).context("the server's answer")?;
    if name.is_some() {
        return Ok(vec![answer]);
    }
    let found = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    if found.is_empty() { bail!("metrics not available yet") } else { Ok(found) }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod.get("containers").and_then(Value::as_array).into_iter().flatten()
}

fn used(container: &Value) -> Used {
    Used::of(container.get("usage").unwrap_or(&Value::Null))
}

fn whole(pod: &Value) -> Used {
    containers(pod).map(used).fold(Used::default(), Used::and)
}

fn share(used: i64, has: i64) -> String {
    if has > 0 { format!("{}%", used.saturating_mul(100) / has) } else { "<unknown>".to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pods_use_is_that_of_its_containers() {
        let usage = |cpu, memory| json!({"usage": {"cpu": cpu, "memory": memory}});
        let pod = json!({"containers": [usage("1500001n", "2048Ki"), usage("10m", "1Mi")]});
        assert_eq!(whole(&pod), Used { milli: 12, bytes: 3 << 20 });
        assert_eq!(whole(&pod).cells(), ["12m", "3Mi"]);
        assert_eq!((share(500, 2000), share(1, 0)), ("25%".into(), "<unknown>".into()));
    }
}
