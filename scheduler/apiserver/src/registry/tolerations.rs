//! How long pods stay on nodes that are not ready or not reachable, where they say nothing of it themselves.
//!
//! Follows the admission plugin `DefaultTolerationSeconds`; how little patience it may have, `docs/adr/0008` says.

use serde_json::{Value, json};
use wherry_api::Resource;
use wherry_api::kinds::{Kind, Pod};
use wherry_api::taint::{NO_EXECUTE, NOT_READY, UNREACHABLE};

/// For how many seconds a pod bears each of the two taints by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultTolerations {
    /// `node.kubernetes.io/not-ready`.
    pub not_ready_seconds: u32,
    /// `node.kubernetes.io/unreachable`.
    pub unreachable_seconds: u32,
}

impl Default for DefaultTolerations {
    fn default() -> Self {
        Self { not_ready_seconds: 300, unreachable_seconds: 300 }
    }
}

impl DefaultTolerations {
    /// Adds to a pod, old or new, the tolerations that it lacks.
    pub(super) fn add(self, resource: &'static Resource, object: &mut Value) {
        if !std::ptr::eq(resource, Pod::resource()) {
            return;
        }
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
        let present = spec.entry("tolerations").or_insert(Value::Null);
        if present.is_null() {
            *present = json!([]);
        }
        // What is no list is a fault that admission tells.
        let Some(present) = present.as_array_mut() else { return };
        for (key, seconds) in [(NOT_READY, self.not_ready_seconds), (UNREACHABLE, self.unreachable_seconds)] {
            if !present.iter().any(|toleration| covers(toleration, key)) {
                present.push(
                    json!({"key": key, "operator": "Exists", "effect": NO_EXECUTE, "tolerationSeconds": seconds}),
                );
            }
        }
    }
}

fn covers(toleration: &Value, key: &str) -> bool {
    let is = |field: &str, wanted: &str| {
        let value = toleration.get(field).and_then(Value::as_str).unwrap_or_default();
        value.is_empty() || value == wanted
    };
    is("key", key) && is("effect", NO_EXECUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_say_their_own_are_let_be() {
        let check = |tolerations: Value, expected: &[(&str, u32)]| {
            let mut pod = json!({"spec": {"tolerations": tolerations}});
            let own = pod["spec"]["tolerations"].as_array().map_or(0, Vec::len);
            let defaults = DefaultTolerations { not_ready_seconds: 2, unreachable_seconds: 3 };
            defaults.add(Pod::resource(), &mut pod);
            let after = pod.clone();
            defaults.add(Pod::resource(), &mut pod);
            assert_eq!(pod, after, "once is enough");
            let added = |(key, seconds): &(&str, u32)| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
            let all = pod["spec"]["tolerations"].as_array().unwrap();
            assert_eq!(all[own..], expected.iter().map(added).collect::<Vec<_>>());
        };
        check(Value::Null, &[(NOT_READY, 2), (UNREACHABLE, 3)]);
        check(json!([{"key": "a", "operator": "Exists"}]), &[(NOT_READY, 2), (UNREACHABLE, 3)]);
        check(json!([{"operator": "Exists"}]), &[]);
        check(json!([{"operator": "Exists", "effect": "NoSchedule"}]), &[(NOT_READY, 2), (UNREACHABLE, 3)]);
        check(json!([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}]), &[(NOT_READY, 2)]);
    }
}
