//! The one table of merge facts: how lists and objects of the Kubernetes types are merged, by patches and by apply.
//!
//! Follows the `patchStrategy`, `patchMergeKey` and `listType` markers of `k8s.io/api`. A list without a row is atomic:
//! a patch replaces it whole.

/// How a field is merged by a strategic merge patch, and by server-side apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The names of the Go types that have the field.
    types: &'static [&'static str],
    /// The field's JSON name.
    field: &'static str,
    /// The item's field by which a patch finds it; empty for lists of plain values, and for what patches replace.
    pub patch_merge_key: &'static str,
    /// `merge`, `merge,retainKeys`, `retainKeys`; empty for `replace`.
    pub patch_strategy: &'static str,
    /// `map`, `set` or `atomic`; empty for what is no list.
    pub list_type: &'static str,
    /// The item's fields that identify it, for a `map`.
    pub map_keys: &'static [&'static str],
}

impl Fact {
    /// Whether a patch merges the list item by item.
    pub fn merges(&self) -> bool {
        self.patch_strategy.starts_with("merge")
    }

    /// Whether what is written of it excludes what is not, as one kind of volume excludes the others.
    pub fn retains_keys(&self) -> bool {
        self.patch_strategy.ends_with("retainKeys")
    }
}

/// The fact about a field of a type, by the type's name without its package (`PodSpec`).
pub fn find(type_name: &str, field: &str) -> Option<&'static Fact> {
    FACTS.iter().find(|fact| fact.field == field && fact.types.contains(&type_name))
}

const fn atomic(types: &'static [&'static str], field: &'static str) -> Fact {
    Fact { types, field, patch_merge_key: "", patch_strategy: "", list_type: "atomic", map_keys: &[] }
}

const fn set(types: &'static [&'static str], field: &'static str) -> Fact {
    Fact { patch_strategy: "merge", list_type: "set", ..atomic(types, field) }
}

/// A list of objects whose first key is also the key of patches.
const fn map(types: &'static [&'static str], field: &'static str, map_keys: &'static [&'static str]) -> Fact {
    let patch_merge_key = match map_keys {
        [first, ..] => first,
        [] => "",
    };
    Fact { patch_merge_key, patch_strategy: "merge", list_type: "map", map_keys, ..atomic(types, field) }
}

const fn retaining(fact: Fact) -> Fact {
    Fact { patch_strategy: "merge,retainKeys", ..fact }
}

const CONTAINER: &[&str] = &["Container", "EphemeralContainer"];
const POD_SPEC: &[&str] = &["PodSpec"];
const META: &[&str] = &["ObjectMeta"];
const CONDITIONS: &[&str] =
    &["PodStatus", "NodeStatus", "NamespaceStatus", "ServiceStatus", "DeploymentStatus", "ReplicaSetStatus"];

static FACTS: &[Fact] = &[
    map(META, "ownerReferences", &["uid"]),
    set(META, "finalizers"),
    atomic(META, "managedFields"),
    map(CONDITIONS, "conditions", &["type"]),
    retaining(map(POD_SPEC, "volumes", &["name"])),
    map(POD_SPEC, "containers", &["name"]),
    map(POD_SPEC, "initContainers", &["name"]),
    map(POD_SPEC, "ephemeralContainers", &["name"]),
    map(POD_SPEC, "imagePullSecrets", &["name"]),
    map(POD_SPEC, "hostAliases", &["ip"]),
    map(POD_SPEC, "topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    map(POD_SPEC, "schedulingGates", &["name"]),
    retaining(map(POD_SPEC, "resourceClaims", &["name"])),
    atomic(POD_SPEC, "tolerations"),
    atomic(POD_SPEC, "readinessGates"),
    map(CONTAINER, "ports", &["containerPort", "protocol"]),
    map(CONTAINER, "env", &["name"]),
    map(CONTAINER, "volumeMounts", &["mountPath"]),
    map(CONTAINER, "volumeDevices", &["devicePath"]),
    atomic(CONTAINER, "envFrom"),
    atomic(CONTAINER, "command"),
    atomic(CONTAINER, "args"),
    atomic(CONTAINER, "resizePolicy"),
    Fact { patch_merge_key: "", patch_strategy: "", ..map(&["ResourceRequirements"], "claims", &["name"]) },
    map(&["PodStatus"], "podIPs", &["ip"]),
    Fact { list_type: "atomic", map_keys: &[], ..map(&["PodStatus"], "hostIPs", &["ip"]) },
    retaining(map(&["PodStatus"], "resourceClaimStatuses", &["name"])),
    map(&["ContainerStatus"], "volumeMounts", &["mountPath"]),
    map(&["ServiceSpec"], "ports", &["port", "protocol"]),
    map(&["ServiceAccount"], "secrets", &["name"]),
    set(&["NodeSpec"], "podCIDRs"),
    map(&["NodeStatus"], "addresses", &["type"]),
    Fact { patch_strategy: "", ..set(&["Endpoint"], "addresses") },
    Fact { patch_strategy: "retainKeys", list_type: "", ..atomic(&["DeploymentSpec"], "strategy") },
];

#[cfg(test)]
mod tests {
    use super::FACTS;

    #[test]
    fn every_fact_is_about_a_field_that_there_is() {
        let document = crate::openapi::v2();
        let definitions = document["definitions"].as_object().unwrap();
        for fact in FACTS {
            for name in fact.types {
                let mut named = definitions.iter().filter(|(full, _)| full.rsplit('.').next() == Some(name));
                let found = named.any(|(_, schema)| schema["properties"].get(fact.field).is_some());
                assert!(found, "{name}.{}", fact.field);
            }
        }
    }
}
