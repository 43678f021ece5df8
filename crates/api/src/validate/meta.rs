//! Faults of `metadata`. Follows `k8s.io/apimachinery/pkg/api/validation`.

use std::collections::BTreeMap;

use crate::kinds::{ObjectMeta, OwnerReference};
use crate::validate::names::{self, Faults as Sentences};
use crate::validate::path::{Faults, Path};

/// All annotations of an object together, keys and values.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

const META: Path<'static> = Path::Root("metadata");

/// An object's own metadata; `name` is the grammar of its kind's names.
pub(crate) fn object(meta: &ObjectMeta, name: fn(&str) -> Sentences, faults: &mut Faults) {
    object_name(meta, name, faults);
    labels(meta.labels.as_ref(), &META.field("labels"), faults);
    annotations(meta.annotations.as_ref(), &META.field("annotations"), faults);
    let at = META.field("finalizers");
    for (index, finalizer) in meta.finalizers.iter().flatten().enumerate() {
        finalizer_name(finalizer, &at.index(index), faults);
    }
    let at = META.field("ownerReferences");
    owners(meta.owner_references.as_deref().unwrap_or_default(), &at, faults);
}

fn object_name(meta: &ObjectMeta, grammar: fn(&str) -> Sentences, faults: &mut Faults) {
    let name = meta.name.as_deref().unwrap_or_default();
    let prefix = meta.generate_name.as_deref().unwrap_or_default();
    match (name, prefix) {
        ("", "") => faults.required(&META.field("name"), "name or generateName is required"),
        ("", prefix) => {
            // A dash at the end is fine: random letters follow.
            let stem = format!("{}a", prefix.trim_end_matches('-'));
            faults.all(&META.field("generateName"), prefix, grammar(&stem));
        }
        (name, _) if name == "." || name == ".." => {
            faults.invalid(&META.field("name"), name, &format!("may not be '{name}'"));
        }
        (name, _) if name.contains(['/', '%']) => {
            let sign = if name.contains('/') { '/' } else { '%' };
            faults.invalid(&META.field("name"), name, &format!("may not contain '{sign}'"));
        }
        (name, _) => faults.all(&META.field("name"), name, grammar(name)),
    }
}

/// Labels: keys and values by their grammars.
pub(crate) fn labels(labels: Option<&BTreeMap<String, String>>, at: &Path<'_>, faults: &mut Faults) {
    for (key, value) in labels.into_iter().flatten() {
        faults.all(at, key, names::qualified_name(key));
        faults.all(at, value, names::label_value(value));
    }
}

/// Annotations: keys by their grammar, and the size of all.
pub(crate) fn annotations(all: Option<&BTreeMap<String, String>>, at: &Path<'_>, faults: &mut Faults) {
    let mut size = 0;
    for (key, value) in all.into_iter().flatten() {
        faults.all(at, key, names::qualified_name(&key.to_ascii_lowercase()));
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_BYTES_MAX {
        faults.too_long(at, ANNOTATIONS_BYTES_MAX);
    }
}

pub(crate) fn finalizer_name(finalizer: &str, at: &Path<'_>, faults: &mut Faults) {
    const STANDARD: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
    faults.all(at, finalizer, names::qualified_name(finalizer));
    if !finalizer.contains('/') && !STANDARD.contains(&finalizer) {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        faults.invalid(at, finalizer, why);
    }
}

fn owners(owners: &[OwnerReference], at: &Path<'_>, faults: &mut Faults) {
    for (index, owner) in owners.iter().enumerate() {
        let at = at.index(index);
        let texts =
            [("apiVersion", &owner.api_version), ("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)];
        for (field, _) in texts.into_iter().filter(|(_, text)| text.is_empty()) {
            faults.invalid(&at.field(field), "", "must not be empty");
        }
    }
    let controllers = owners.iter().filter(|owner| owner.controller == Some(true)).count();
    if controllers > 1 {
        faults.invalid(at, owners, "Only one reference can have Controller set to true");
    }
}
