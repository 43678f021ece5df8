//! Faults of containers' environments.

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector};

use crate::validate::names;
use crate::validate::path::{Faults, Path};

const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Faults of `env` and `envFrom`.
pub(super) fn env(container: &Container, at: &Path<'_>, faults: &mut Faults) {
    let list = at.field("env");
    for (index, one) in container.env.iter().flatten().enumerate() {
        variable(one, &list.index(index), faults);
    }
    let list = at.field("envFrom");
    for (index, from) in container.env_from.iter().flatten().enumerate() {
        env_from(from, &list.index(index), faults);
    }
}

fn variable(one: &EnvVar, at: &Path<'_>, faults: &mut Faults) {
    match one.name.as_str() {
        "" => faults.required(&at.field("name"), ""),
        name => faults.all(&at.field("name"), name, names::env_name(name)),
    }
    if let Some(from) = &one.value_from {
        let at = at.field("valueFrom");
        value_from(from, &at, faults);
        if one.value.as_deref().is_some_and(|value| !value.is_empty()) {
            faults.invalid(&at, "", "may not be specified when `value` is not empty");
        }
    }
}

fn value_from(from: &EnvVarSource, at: &Path<'_>, faults: &mut Faults) {
    let sources = [
        from.field_ref.is_some(),
        from.resource_field_ref.is_some(),
        from.config_map_key_ref.is_some(),
        from.secret_key_ref.is_some(),
    ];
    match sources.into_iter().filter(|there| *there).count() {
        0 => {
            let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            faults.invalid(at, "", why);
        }
        1 => {}
        _ => faults.invalid(at, "", "may not have more than one field specified at a time"),
    }
    if let Some(field) = &from.field_ref {
        field_path(field, &at.field("fieldRef"), faults);
    }
    if let Some(resource) = &from.resource_field_ref {
        resource_name(&resource.resource, &at.field("resourceFieldRef"), faults);
    }
    let keys = [
        ("configMapKeyRef", from.config_map_key_ref.as_ref().map(|r| (&r.name, &r.key))),
        ("secretKeyRef", from.secret_key_ref.as_ref().map(|r| (&r.name, &r.key))),
    ];
    for (field, (name, key)) in keys.into_iter().filter_map(|(field, reference)| Some((field, reference?))) {
        let at = at.field(field);
        reference(name, &at, faults);
        match key.as_str() {
            "" => faults.required(&at.field("key"), ""),
            key => faults.all(&at.field("key"), key, names::config_key(key)),
        }
    }
}

fn reference(name: &str, at: &Path<'_>, faults: &mut Faults) {
    if name.is_empty() {
        faults.required(&at.field("name"), "");
    }
}

/// A field of the pod that the downward API gives.
pub(super) fn field_path(field: &ObjectFieldSelector, at: &Path<'_>, faults: &mut Faults) {
    let path = field.field_path.as_str();
    let at = at.field("fieldPath");
    let subscript = ["metadata.labels['", "metadata.annotations['"]
        .into_iter()
        .find_map(|prefix| path.strip_prefix(prefix)?.strip_suffix("']"));
    match subscript {
        Some(key) => faults.all(&at, path, names::qualified_name(&key.to_ascii_lowercase())),
        None if path.is_empty() => faults.required(&at, ""),
        None if !FIELDS.contains(&path) => faults.unsupported(&at, path, &FIELDS),
        None => {}
    }
}

/// A resource of a container that the downward API gives.
pub(super) fn resource_name(name: &str, at: &Path<'_>, faults: &mut Faults) {
    let at = at.field("resource");
    match name {
        "" => faults.required(&at, ""),
        name if !RESOURCES.contains(&name) => faults.unsupported(&at, name, &RESOURCES),
        _ => {}
    }
}

fn env_from(from: &EnvFromSource, at: &Path<'_>, faults: &mut Faults) {
    if let Some(prefix) = from.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
        faults.all(&at.field("prefix"), prefix, names::env_name(prefix));
    }
    match (&from.config_map_ref, &from.secret_ref) {
        (None, None) => faults.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"),
        (Some(_), Some(_)) => faults.invalid(at, "", "may not have more than one field specified at a time"),
        (Some(map), None) => reference(&map.name, &at.field("configMapRef"), faults),
        (None, Some(secret)) => reference(&secret.name, &at.field("secretRef"), faults),
    }
}
