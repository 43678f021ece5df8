//! The three-way merge of `apply`: what the last manifest said and the new one does not goes, what the new one says comes,
//! and what others have written stays; also inside of lists whose items have keys.
//!
//! Follows `CreateThreeWayMergePatch` of `k8s.io/apimachinery/pkg/util/strategicpatch`, but finds items by all their keys
//! (`listMapKeys`), so that the ports 53/TCP and 53/UDP are two.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::facts::Fact;
use super::{Type, object};
use crate::protobuf::schema::root;
use crate::resource::Resource;

/// What a key is where an item does not say it: ports are those of TCP.
const KEY_DEFAULTS: &[(&str, &str)] = &[("protocol", "TCP")];

/// Brings `present` to what the manifest `wanted` says, where `last` was the manifest before.
pub fn three_way(resource: &Resource, last: &Value, wanted: &Value, present: &mut Value) {
    let kind = Type(root(&resource.api_version(), resource.kind));
    if let Some(wanted) = wanted.as_object() {
        merge_object(kind, last, wanted, object(present));
    }
}

fn merge_object(kind: Type, last: &Value, wanted: &Map<String, Value>, present: &mut Map<String, Value>) {
    let said = |key: &String| wanted.get(key).is_some_and(|value| !value.is_null());
    for gone in last.as_object().into_iter().flatten().map(|(key, _)| key).chain(wanted.keys()) {
        if !said(gone) {
            present.remove(gone);
        }
    }
    for (key, wanted) in wanted.iter().filter(|(key, _)| said(key)) {
        let last = last.get(key).unwrap_or(&Value::Null);
        match present.get_mut(key) {
            Some(present) => merge_value(kind, key, last, wanted, present),
            None => drop(present.insert(key.clone(), wanted.clone())),
        }
    }
}

fn merge_value(kind: Type, key: &str, last: &Value, wanted: &Value, present: &mut Value) {
    match (wanted, present, kind.merging(key)) {
        (Value::Object(wanted), Value::Object(present), _) => {
            let retains = kind.fact(key).is_some_and(Fact::retains_keys);
            merge_whole(kind.child(key), retains, last, wanted, present);
        }
        (Value::Array(wanted), Value::Array(present), Some(fact)) => {
            merge_list(kind.child(key), fact, last, wanted, present);
        }
        // Defaults inside of what is written whole are no difference, as long as the manifest says the same as before.
        (wanted, present, _) if wanted == last && covers(present, wanted) => {}
        (wanted, present, _) => *present = wanted.clone(),
    }
}

/// Merges an object; one that `retains` only what the manifest says keeps nothing else once it differs.
fn merge_whole(kind: Type, retains: bool, last: &Value, wanted: &Map<String, Value>, present: &mut Map<String, Value>) {
    let before = retains.then(|| present.clone());
    merge_object(kind, last, wanted, present);
    if before.is_some_and(|before| before != *present) {
        present.retain(|key, _| wanted.contains_key(key));
    }
}

/// The items that the manifest names stand in its order, in the places of those that were there; others stay where they are.
fn merge_list(kind: Type, fact: &Fact, last: &Value, wanted: &[Value], present: &mut Vec<Value>) {
    let last = last.as_array().map(Vec::as_slice).unwrap_or_default();
    let among = |items: &[Value], item: &Value| items.iter().position(|other| is_same(fact, other, item));
    let merged = wanted.iter().map(|wanted| {
        let found = among(present, wanted).and_then(|at| present.get(at)).cloned();
        let last = among(last, wanted).and_then(|at| last.get(at)).unwrap_or(&Value::Null);
        match (found, wanted) {
            (Some(Value::Object(mut item)), Value::Object(wanted)) => {
                merge_whole(kind, fact.retains_keys(), last, wanted, &mut item);
                Value::Object(item)
            }
            (_, wanted) => wanted.clone(),
        }
    });
    let mut merged: VecDeque<Value> = merged.collect();
    let mut items = Vec::with_capacity(merged.len());
    for item in std::mem::take(present) {
        if among(wanted, &item).is_some() {
            items.extend(merged.pop_front());
        } else if among(last, &item).is_none() {
            items.push(item);
        }
    }
    items.extend(merged);
    *present = items;
}

fn is_same(fact: &Fact, one: &Value, other: &Value) -> bool {
    if fact.map_keys.is_empty() {
        return one == other;
    }
    let default =
        |key: &str| KEY_DEFAULTS.iter().find(|(known, _)| *known == key).map(|(_, value)| Value::from(*value));
    fact.map_keys.iter().all(|key| {
        let value = |item: &Value| item.get(*key).cloned().or_else(|| default(key));
        value(one) == value(other)
    })
}

/// Whether `have` holds all that `want` says, defaults beside it allowed.
fn covers(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => {
            want.iter().all(|(key, want)| have.get(key).is_some_and(|have| covers(have, want)))
        }
        (Value::Array(have), Value::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(have, want)| covers(have, want))
        }
        (have, want) => have == want,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::Kind;
    use crate::kinds::{Deployment, Ingress, Pod, Service};

    /// The manifest before, the manifest now, what is there, and what it becomes; below `spec` all of them.
    fn check(resource: &Resource, cases: &[(Value, Value, Value, Value)]) {
        for (last, wanted, present, expected) in cases {
            let spec = |value: &Value| json!({"spec": value});
            let mut merged = spec(present);
            three_way(resource, &spec(last), &spec(wanted), &mut merged);
            assert_eq!(merged, spec(expected), "{last} {wanted} {present}");
        }
    }

    #[test]
    fn what_others_wrote_stays() {
        let present = json!({"a": 1, "kept": true, "gone": 3, "deep": {"b": 1, "c": 2}});
        let changed = |a: i32, gone: Value, deep: Value| json!({"a": a, "kept": true, "gone": gone, "deep": deep});
        let deep = json!({"b": 1, "c": 2});
        let without = json!({"a": 2, "kept": true, "deep": deep});
        check(
            Pod::resource(),
            &[
                (json!({}), json!({"a": 1}), present.clone(), present.clone()),
                (json!({"gone": 3}), json!({"a": 2}), present.clone(), without.clone()),
                (json!({}), json!({"a": 2, "gone": null, "new": null}), present.clone(), without),
                (
                    json!({"deep": {"c": 2}}),
                    json!({"deep": {"b": 5}}),
                    present.clone(),
                    changed(1, json!(3), json!({"b": 5})),
                ),
            ],
        );
    }

    #[test]
    fn items_are_found_by_their_keys() {
        let list = |items: &str| {
            let one = |item: &str| json!({"name": item.trim_end_matches('!'), "image": if item.ends_with('!') { "new" } else { "old" }});
            json!({"containers": items.split(' ').filter(|item| !item.is_empty()).map(one).collect::<Vec<_>>()})
        };
        let cases = [
            ("a b", "a b!", "a b other", "a b! other"),
            ("a b", "b", "other a b", "other b"),
            ("a b", "a n b", "a b", "a n b"),
            ("", "b a", "a other b", "b other a"),
            ("a", "", "a other", "other"),
        ];
        let cases =
            cases.map(|(last, wanted, present, expected)| (list(last), list(wanted), list(present), list(expected)));
        check(Pod::resource(), &cases);
    }

    #[test]
    fn ports_keep_what_was_given_to_them() {
        let present = json!({"ports": [
            {"port": 53, "protocol": "TCP", "nodePort": 30001}, {"port": 53, "protocol": "UDP", "nodePort": 30002}]});
        let wanted = json!({"ports": [{"port": 53, "protocol": "UDP", "targetPort": 5353}, {"port": 53}]});
        let expected = json!({"ports": [
            {"port": 53, "protocol": "UDP", "targetPort": 5353, "nodePort": 30002},
            {"port": 53, "protocol": "TCP", "nodePort": 30001}]});
        check(Service::resource(), &[(json!({}), wanted, present, expected)]);
    }

    #[test]
    fn what_excludes_others_removes_them() {
        let rolling = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
        let recreate = json!({"strategy": {"type": "Recreate"}});
        let same = json!({"strategy": {"type": "RollingUpdate"}});
        check(
            Deployment::resource(),
            &[
                (json!({}), recreate.clone(), rolling.clone(), recreate),
                (json!({}), same, rolling.clone(), rolling.clone()),
            ],
        );
    }

    #[test]
    fn what_is_written_whole_may_have_defaults() {
        let said = json!({"rules": [{"host": "a", "http": 1}]});
        let defaulted = json!({"rules": [{"host": "a", "http": 1, "default": 2}]});
        let less = json!({"rules": [{"http": 1}]});
        check(
            Ingress::resource(),
            &[
                (said.clone(), said.clone(), defaulted.clone(), defaulted.clone()),
                (said, less.clone(), defaulted, less),
            ],
        );
    }
}
