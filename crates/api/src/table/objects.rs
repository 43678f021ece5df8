//! Cells of nodes, events and the kinds that have little to tell.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::age::{UNKNOWN, human, since};
use super::view::{NONE, age_of, condition, flag, list, name, number, pairs, size, text, text_or};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

pub(super) fn plain(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), age_of(object, now)]
}

fn one(object: &Value, cell: impl Into<Value>, now: Timestamp) -> Vec<Value> {
    vec![name(object), cell.into(), age_of(object, now)]
}

pub(super) fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    one(object, text(object, "/status/phase"), now)
}

pub(super) fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    one(object, size(object, "/data") + size(object, "/binaryData"), now)
}

pub(super) fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, "/type").into(), size(object, "/data").into(), age_of(object, now)]
}

pub(super) fn service_account(object: &Value, now: Timestamp) -> Vec<Value> {
    one(object, size(object, "/secrets"), now)
}

pub(super) fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    one(object, text(object, "/spec/holderIdentity"), now)
}

pub(super) fn runtime_class(object: &Value, now: Timestamp) -> Vec<Value> {
    one(object, text(object, "/handler"), now)
}

pub(super) fn signing_request(object: &Value, now: Timestamp) -> Vec<Value> {
    let asked = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let asked = asked.and_then(|seconds| Some(human(now.checked_add(SignedDuration::from_secs(seconds)).ok()?, now)));
    vec![
        name(object),
        age_of(object, now),
        text(object, "/spec/signerName").into(),
        text(object, "/spec/username").into(),
        asked.unwrap_or_else(|| NONE.to_owned()).into(),
        request_condition(object).into(),
    ]
}

/// As `kubectl` words it: a request that was decided on may have been issued, or have failed.
fn request_condition(request: &Value) -> String {
    let has = |kind: &str| list(request, "/status/conditions").iter().any(|one| text(one, "/type") == kind);
    let decided = match (has("Approved"), has("Denied")) {
        (_, true) => "Denied",
        (true, false) => "Approved",
        (false, false) => "Pending",
    };
    let failed = if has("Failed") { ",Failed" } else { "" };
    let issued = if text(request, "/status/certificate").is_empty() { "" } else { ",Issued" };
    format!("{decided}{failed}{issued}")
}

pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let roles: Vec<&str> = roles(object).into_iter().collect();
    let roles = if roles.is_empty() { NONE.to_owned() } else { roles.join(",") };
    let info = |field: &str| Value::from(text_or(object, &format!("/status/nodeInfo/{field}"), UNKNOWN));
    vec![
        name(object),
        node_status(object).into(),
        roles.into(),
        age_of(object, now),
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        node_address(object, "InternalIP").into(),
        node_address(object, "ExternalIP").into(),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn node_status(node: &Value) -> String {
    let ready = match condition(node, "Ready") {
        "" => "Unknown",
        "True" => "Ready",
        _ => "NotReady",
    };
    let closed = if flag(node, "/spec/unschedulable") { ",SchedulingDisabled" } else { "" };
    format!("{ready}{closed}")
}

fn roles(node: &Value) -> BTreeSet<&str> {
    let labels = pairs(node, "/metadata/labels");
    let named = labels.iter().filter_map(|(key, _)| key.strip_prefix(ROLE_PREFIX));
    let labelled = labels.iter().filter(|(key, _)| *key == ROLE_LABEL).map(|(_, value)| *value);
    named.chain(labelled).filter(|role| !role.is_empty()).collect()
}

fn node_address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = list(node, "/status/addresses").iter().find(|address| text(address, "/type") == kind);
    found.map_or(NONE, |address| text(address, "/address"))
}

pub(super) fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let (first, last, count) = sightings(object, now);
    let kind = text(object, "/involvedObject/kind").to_lowercase();
    let target = match text(object, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        last.into(),
        text(object, "/type").into(),
        text(object, "/reason").into(),
        target.into(),
        text(object, "/involvedObject/fieldPath").into(),
        event_source(object).into(),
        text(object, "/message").trim().into(),
        first.into(),
        count.into(),
        name(object),
    ]
}

/// When an event was first and last seen, and how often.
fn sightings(event: &Value, now: Timestamp) -> (String, String, i64) {
    let first = since(text_or(event, "/firstTimestamp", text(event, "/eventTime")), now);
    if event.get("series").is_some_and(Value::is_object) {
        let last = since(text(event, "/series/lastObservedTime"), now);
        return (first, last, number(event, "/series/count"));
    }
    let last = match text(event, "/lastTimestamp") {
        "" => first.clone(),
        last => since(last, now),
    };
    (first, last, number(event, "/count").max(1))
}

fn event_source(event: &Value) -> String {
    let component = text_or(event, "/source/component", text(event, "/reportingComponent"));
    match text_or(event, "/source/host", text(event, "/reportingInstance")) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}
