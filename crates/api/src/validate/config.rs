//! Faults of ConfigMaps and Secrets: keys, size, immutability.

use crate::kinds::{ConfigMap, Secret};
use crate::validate::names;
use crate::validate::path::{Faults, Path};

/// What the values of one object may come to, in bytes.
const DATA_BYTES_MAX: usize = 1024 * 1024;

pub(crate) fn config_map(map: &ConfigMap, faults: &mut Faults) {
    let texts = map.data.iter().flatten().map(|(key, value)| (key.as_str(), value.len()));
    let binaries = map.binary_data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.len()));
    data(texts.clone(), "data", faults);
    data(binaries.clone(), "binaryData", faults);
    size(texts.chain(binaries).map(|(_, len)| len).sum(), faults);
    for key in map.data.iter().flatten().map(|(key, _)| key) {
        if map.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
            faults.invalid(&Path::Root("data").key(key), key, "duplicate of key present in binaryData");
        }
    }
}

pub(crate) fn config_map_update(map: &ConfigMap, old: &ConfigMap, faults: &mut Faults) {
    if old.immutable == Some(true) {
        unchanged(map.immutable == Some(true), "immutable", faults);
        unchanged(map.data == old.data, "data", faults);
        unchanged(map.binary_data == old.binary_data, "binaryData", faults);
    }
}

pub(crate) fn secret(secret: &Secret, faults: &mut Faults) {
    let values = secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.len()));
    data(values.clone(), "data", faults);
    size(values.map(|(_, len)| len).sum(), faults);
    let needed: &[&str] = match secret.type_.as_deref() {
        Some("kubernetes.io/tls") => &["tls.crt", "tls.key"],
        Some("kubernetes.io/dockerconfigjson") => &[".dockerconfigjson"],
        _ => &[],
    };
    for key in needed {
        if !secret.data.as_ref().is_some_and(|data| data.contains_key(*key)) {
            faults.required(&Path::Root("data").key(key), "");
        }
    }
}

pub(crate) fn secret_update(secret: &Secret, old: &Secret, faults: &mut Faults) {
    faults.immutable(&Path::Root("type"), &secret.type_, &old.type_);
    if old.immutable == Some(true) {
        unchanged(secret.immutable == Some(true), "immutable", faults);
        unchanged(secret.data == old.data, "data", faults);
    }
}

fn data<'a>(entries: impl Iterator<Item = (&'a str, usize)>, field: &'static str, faults: &mut Faults) {
    for (key, _) in entries {
        faults.all(&Path::Root(field).key(key), key, names::config_key(key));
    }
}

fn size(bytes: usize, faults: &mut Faults) {
    if bytes > DATA_BYTES_MAX {
        faults.too_long(&Path::Root("data"), DATA_BYTES_MAX);
    }
}

fn unchanged(same: bool, field: &'static str, faults: &mut Faults) {
    if !same {
        faults.forbidden(&Path::Root(field), "field is immutable when `immutable` is set");
    }
}
