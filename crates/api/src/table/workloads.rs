//! Cells of the kinds that make pods from a template.

use jiff::Timestamp;
use serde_json::Value;

use super::view::{NONE, age_of, joined, list, name, number, pairs, text};

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = number(object, "/status/readyReplicas");
    let [containers, images] = template(object);
    vec![
        name(object),
        format!("{ready}/{}", number(object, "/spec/replicas")).into(),
        number(object, "/status/updatedReplicas").into(),
        number(object, "/status/availableReplicas").into(),
        age_of(object, now),
        containers,
        images,
        selector(object).into(),
    ]
}

pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [containers, images] = template(object);
    let chosen = Some(selector(object)).filter(|s| !s.is_empty());
    vec![
        name(object),
        number(object, "/spec/replicas").into(),
        number(object, "/status/replicas").into(),
        number(object, "/status/readyReplicas").into(),
        age_of(object, now),
        containers,
        images,
        chosen.unwrap_or_else(|| NONE.to_owned()).into(),
    ]
}

pub(super) fn disruption_budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let limit = |pointer: &str| match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "N/A".to_owned(),
    };
    vec![
        name(object),
        limit("/spec/minAvailable").into(),
        limit("/spec/maxUnavailable").into(),
        number(object, "/status/disruptionsAllowed").into(),
        age_of(object, now),
    ]
}

fn template(object: &Value) -> [Value; 2] {
    let containers = list(object, "/spec/template/spec/containers");
    [joined(containers, "/name").into(), joined(containers, "/image").into()]
}

/// A label selector as the query parameter has it: `app=web,tier in (a,b),!old`, sorted by key.
fn selector(object: &Value) -> String {
    let labels = pairs(object, "/spec/selector/matchLabels").into_iter().map(|(k, v)| (k, format!("{k}={v}")));
    let expressions = list(object, "/spec/selector/matchExpressions").iter().map(|e| (text(e, "/key"), requirement(e)));
    let mut terms: Vec<_> = labels.chain(expressions).collect();
    terms.sort();
    terms.into_iter().map(|(_, term)| term).collect::<Vec<_>>().join(",")
}

fn requirement(expression: &Value) -> String {
    let key = text(expression, "/key");
    let mut values: Vec<&str> = list(expression, "/values").iter().filter_map(Value::as_str).collect();
    values.sort_unstable();
    let values = values.join(",");
    match text(expression, "/operator") {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "DoesNotExist" => format!("!{key}"),
        _ => key.to_owned(),
    }
}
