//! Which pod, and which of its containers, a person means.

use anyhow::{Context, bail};
use serde_json::Value;
use wherry_api::kinds::{Kind, Pod};
use wherry_client::{Client, ListOptions};

use crate::get::pairs_of;
use crate::objects::{Objects, one_target, shown, text};

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The pod of this name, or one of those that `deployment/NAME`, `service/NAME` or another selects, a running one first.
pub async fn one_pod(client: &Client, namespace: &str, what: &str) -> anyhow::Result<Value> {
    let (resource, name) = match what.contains('/') {
        true => one_target(&[what.to_owned()])?,
        false => (Pod::resource(), what.to_owned()),
    };
    let object = Objects::new(client, resource, Some(namespace)).get(&name).await?;
    if std::ptr::eq(resource, Pod::resource()) {
        return Ok(object);
    }
    let shown = shown(resource, &object);
    let labels = ["/spec/selector/matchLabels", "/spec/selector"].map(|pointer| pairs_of(&object, pointer, ","));
    let labels = labels.into_iter().find(|labels| labels != "<none>" && !labels.contains('{'));
    let labels = labels.with_context(|| format!("{shown} selects no pods"))?;
    let pods = Objects::new(client, Pod::resource(), Some(namespace));
    let mut found = pods.list(ListOptions { labels, ..ListOptions::default() }).await?;
    found.sort_by_key(|pod| text(pod, "/status/phase") != "Running");
    let count = found.len();
    let first = found.into_iter().next().with_context(|| format!("{shown} has no pods"))?;
    if count > 1 {
        eprintln!("Found {count} pods, using pod/{}", text(&first, "/metadata/name"));
    }
    Ok(first)
}

/// The names of a pod's containers: those that run with it, and init containers.
pub fn container_names(pod: &Value) -> (Vec<String>, Vec<String>) {
    let names = |list: &str| -> Vec<String> {
        let containers = pod.pointer(list).and_then(Value::as_array);
        containers.into_iter().flatten().map(|container| text(container, "/name").to_owned()).collect()
    };
    (names("/spec/containers"), names("/spec/initContainers"))
}

/// The container that is meant where none is named; `is_told`: where it was chosen among several, that is said.
pub fn default_container(pod: &Value, is_told: bool) -> anyhow::Result<String> {
    let (main, init) = container_names(pod);
    let annotated = pod.pointer("/metadata/annotations").and_then(|all| all.get(DEFAULT_CONTAINER));
    let annotated = annotated.and_then(Value::as_str).map(str::to_owned).filter(|name| main.contains(name));
    let Some(chosen) = annotated.or_else(|| main.first().cloned()) else { bail!("the pod has no containers") };
    if main.len() + init.len() > 1 && is_told {
        eprintln!("Defaulted container \"{chosen}\" out of: {}", out_of(&main, &init));
    }
    Ok(chosen)
}

/// The containers of a pod, for a sentence.
pub fn out_of(main: &[String], init: &[String]) -> String {
    main.iter().cloned().chain(init.iter().map(|name| format!("{name} (init)"))).collect::<Vec<_>>().join(", ")
}
