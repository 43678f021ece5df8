//! Faults of ConfigMaps and Secrets: keys, size, immutability.

use crate::kinds::{ConfigMap, Secret};
use crate::validate::names;
use crate::validate::path::{Faults, Path};
use crate::well_known::TLS_SECRET;

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
    of_type(secret, faults);
}

/// What a secret's type asks of it.
fn of_type(secret: &Secret, faults: &mut Faults) {
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let at = Path::Root("data");
    let needed: &[&str] = match secret.type_.as_deref().unwrap_or_default() {
        TLS_SECRET => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/basic-auth" if value("username").is_none() => &["password"],
        "kubernetes.io/service-account-token" => {
            let annotations = secret.metadata.annotations.as_ref();
            if annotations.and_then(|all| all.get(ACCOUNT)).is_none_or(String::is_empty) {
                faults.required(&Path::Root("metadata").field("annotations").key(ACCOUNT), "");
            }
            &[]
        }
        _ => &[],
    };
    for key in needed {
        match value(key) {
            None => faults.required(&at.key(key), ""),
            Some(text) if key.starts_with(".docker") && !is_json(&text.0) => {
                faults.invalid(&at.key(key), "<secret contents redacted>", "must be JSON");
            }
            Some(_) => {}
        }
    }
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
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
