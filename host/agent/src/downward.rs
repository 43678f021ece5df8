//! The downward API: what a container may know of its own pod, as text. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ResourceFieldSelector};
use wherry_api::kinds::Pod;
use wherry_api::quantity;

/// A pod and its place.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its address.
    pub address: IpAddr,
    /// The node's.
    pub host: IpAddr,
    /// What stands in for a limit that is not set.
    pub machine: Machine,
}

/// What a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory_bytes: i64,
}

/// The value of a `fieldRef`. The error is a sentence.
pub fn field(facts: &Facts<'_>, path: &str) -> Result<String, String> {
    let meta = &facts.pod.metadata;
    let spec = facts.pod.spec.as_ref();
    let text = |text: Option<&String>| Ok(text.cloned().unwrap_or_default());
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        return subscript(facts, map, key).ok_or_else(|| unknown(path));
    }
    match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => Ok(lines(meta.labels.as_ref())),
        "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
        "spec.nodeName" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.podIP" | "status.podIPs" => Ok(facts.address.to_string()),
        "status.hostIP" | "status.hostIPs" => Ok(facts.host.to_string()),
        _ => Err(unknown(path)),
    }
}

fn unknown(path: &str) -> String {
    format!("unsupported fieldPath: {path}")
}

fn subscript(facts: &Facts<'_>, map: &str, key: &str) -> Option<String> {
    let map = match map {
        "metadata.labels" => &facts.pod.metadata.labels,
        "metadata.annotations" => &facts.pod.metadata.annotations,
        _ => return None,
    };
    Some(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default())
}

/// `key="value"` lines, as a downwardAPI volume shows a map.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

fn quoted(value: &str) -> String {
    let mut out = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _infallible = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// The value of a `resourceFieldRef`, rounded up to its divisor. The error is a sentence.
pub fn resource(
    facts: &Facts<'_>,
    container: Option<&Container>,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let spec = facts.pod.spec.as_ref();
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let all = || spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let container = match named {
        Some(name) => all().find(|container| container.name == name),
        None => container,
    };
    let container = container.ok_or_else(|| format!("container {} not found", named.unwrap_or_default()))?;
    let divisor = selector.divisor.as_ref().map_or(Ok(0), quantity::milli).map_err(|error| error.to_string())?;
    let divisor = if divisor <= 0 { 1000 } else { divisor };
    let milli = amount(facts, container, &selector.resource)?;
    Ok((milli.div_euclid(divisor) + i64::from(milli.rem_euclid(divisor) > 0)).to_string())
}

/// Thousandths of the resource that a path such as `limits.cpu` names.
fn amount(facts: &Facts<'_>, container: &Container, path: &str) -> Result<i64, String> {
    let resources = container.resources.as_ref();
    let (kind, name) = path.split_once('.').unwrap_or_default();
    let map = match kind {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(format!("unsupported container resource: {path}")),
    };
    let whole = match (kind, name) {
        ("limits", "cpu") => facts.machine.cpu_milli,
        ("limits", "memory") => facts.machine.memory_bytes.saturating_mul(1000),
        (_, "cpu" | "memory" | "ephemeral-storage") => 0,
        _ => return Err(format!("unsupported container resource: {path}")),
    };
    match map.and_then(|map| map.get(name)) {
        Some(amount) => quantity::milli(amount).map_err(|error| format!("{path}: {error}")),
        None => Ok(whole),
    }
}
