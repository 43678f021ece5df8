//! Faults of volumes.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, ProjectedVolumeSource, Volume, VolumeProjection};

use super::{container, env, resources};
use crate::validate::names;
use crate::validate::path::{Faults, Path, unique};

/// Faults of a pod's volumes; returns their names.
pub(super) fn volumes<'a>(volumes: &'a [Volume], at: &Path<'_>, faults: &mut Faults) -> HashSet<&'a str> {
    for (index, volume) in volumes.iter().enumerate() {
        let at = at.index(index);
        match volume.name.as_str() {
            "" => faults.required(&at.field("name"), ""),
            name => faults.all(&at.field("name"), name, names::dns1123_label(name)),
        }
        source(volume, &at, faults);
    }
    let names = volumes.iter().map(|volume| volume.name.as_str());
    unique(names.clone(), |index, name| faults.duplicate(&at.index(index).field("name"), name));
    names.collect()
}

fn source(volume: &Volume, at: &Path<'_>, faults: &mut Faults) {
    let sources = [
        ("configMap", volume.config_map.is_some()),
        ("secret", volume.secret.is_some()),
        ("downwardAPI", volume.downward_api.is_some()),
        ("projected", volume.projected.is_some()),
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
    ];
    let mut present = sources.into_iter().filter(|(_, there)| *there);
    match present.next() {
        None => unsupported(volume, at, faults),
        Some(_) => {
            for (field, _) in present {
                faults.forbidden(&at.field(field), "may not specify more than 1 volume type");
            }
        }
    }
    contents(volume, at, faults);
}

/// A source that is none of ours.
fn unsupported(volume: &Volume, at: &Path<'_>, faults: &mut Faults) {
    let encoded = serde_json::to_value(volume).unwrap_or_default();
    let mut others = encoded.as_object().into_iter().flat_map(|fields| fields.keys()).filter(|key| *key != "name");
    match others.next() {
        None => faults.required(at, "must specify a volume type"),
        Some(other) => {
            let why = "volumes of this type are not available here; \
                       use configMap, secret, downwardAPI, projected, emptyDir or hostPath";
            faults.forbidden(&at.field(other), why);
        }
    }
}

fn contents(volume: &Volume, at: &Path<'_>, faults: &mut Faults) {
    if let Some(map) = &volume.config_map {
        let at = at.field("configMap");
        named(&map.name, &at, "name", faults);
        mode(map.default_mode, &at.field("defaultMode"), faults);
        items(map.items.as_deref().unwrap_or_default(), &at.field("items"), faults);
    }
    if let Some(secret) = &volume.secret {
        let at = at.field("secret");
        named(secret.secret_name.as_deref().unwrap_or_default(), &at, "secretName", faults);
        mode(secret.default_mode, &at.field("defaultMode"), faults);
        items(secret.items.as_deref().unwrap_or_default(), &at.field("items"), faults);
    }
    if let Some(downward) = &volume.downward_api {
        let at = at.field("downwardAPI");
        mode(downward.default_mode, &at.field("defaultMode"), faults);
        files(downward.items.as_deref().unwrap_or_default(), &at.field("items"), faults);
    }
    if let Some(all) = &volume.projected {
        projected(all, &at.field("projected"), faults);
    }
    if let Some(limit) = volume.empty_dir.as_ref().and_then(|dir| dir.size_limit.as_ref()) {
        resources::amount(limit, &at.field("emptyDir").field("sizeLimit"), faults);
    }
    if let Some(host) = &volume.host_path {
        host_path(host.path.as_str(), host.type_.as_deref(), &at.field("hostPath"), faults);
    }
}

fn host_path(path: &str, kind: Option<&str>, at: &Path<'_>, faults: &mut Faults) {
    const TYPES: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    named(path, at, "path", faults);
    if path.split('/').any(|part| part == "..") {
        faults.invalid(&at.field("path"), path, "must not contain '..'");
    }
    faults.one_of(&at.field("type"), kind, &TYPES);
}

fn named(name: &str, at: &Path<'_>, field: &str, faults: &mut Faults) {
    if name.is_empty() {
        faults.required(&at.field(field), "");
    }
}

fn mode(mode: Option<i32>, at: &Path<'_>, faults: &mut Faults) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        faults.invalid(at, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn items(items: &[KeyToPath], at: &Path<'_>, faults: &mut Faults) {
    for (index, item) in items.iter().enumerate() {
        let at = at.index(index);
        named(&item.key, &at, "key", faults);
        named(&item.path, &at, "path", faults);
        container::sub_path(Some(&item.path), &at.field("path"), faults);
        mode(item.mode, &at.field("mode"), faults);
    }
}

fn files(files: &[DownwardAPIVolumeFile], at: &Path<'_>, faults: &mut Faults) {
    for (index, file) in files.iter().enumerate() {
        let at = at.index(index);
        named(&file.path, &at, "path", faults);
        container::sub_path(Some(&file.path), &at.field("path"), faults);
        mode(file.mode, &at.field("mode"), faults);
        match (&file.field_ref, &file.resource_field_ref) {
            (None, None) => faults.required(&at, "one of fieldRef and resourceFieldRef is required"),
            (Some(_), Some(_)) => {
                faults.invalid(&at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
            }
            // Besides single labels, a file can hold all of them.
            (Some(field), None) if matches!(field.field_path.as_str(), "metadata.labels" | "metadata.annotations") => {}
            (Some(field), None) => env::field_path(field, &at.field("fieldRef"), faults),
            (None, Some(resource)) => {
                let at = at.field("resourceFieldRef");
                named(resource.container_name.as_deref().unwrap_or_default(), &at, "containerName", faults);
                env::resource_name(&resource.resource, &at, faults);
            }
        }
    }
}

fn projected(all: &ProjectedVolumeSource, at: &Path<'_>, faults: &mut Faults) {
    mode(all.default_mode, &at.field("defaultMode"), faults);
    let sources = at.field("sources");
    for (index, source) in all.sources.iter().flatten().enumerate() {
        projection(source, &sources.index(index), faults);
    }
}

fn projection(source: &VolumeProjection, at: &Path<'_>, faults: &mut Faults) {
    let there = [
        source.config_map.is_some(),
        source.secret.is_some(),
        source.downward_api.is_some(),
        source.service_account_token.is_some(),
        source.cluster_trust_bundle.is_some(),
        source.pod_certificate.is_some(),
    ];
    if there.into_iter().filter(|there| *there).count() > 1 {
        faults.forbidden(at, "may not specify more than 1 volume type");
    }
    if source.cluster_trust_bundle.is_some() || source.pod_certificate.is_some() {
        faults.forbidden(at, "certificates are not projected here; use a secret or a configMap");
    }
    if let Some(map) = &source.config_map {
        let at = at.field("configMap");
        named(&map.name, &at, "name", faults);
        items(map.items.as_deref().unwrap_or_default(), &at.field("items"), faults);
    }
    if let Some(secret) = &source.secret {
        let at = at.field("secret");
        named(&secret.name, &at, "name", faults);
        items(secret.items.as_deref().unwrap_or_default(), &at.field("items"), faults);
    }
    if let Some(downward) = &source.downward_api {
        files(downward.items.as_deref().unwrap_or_default(), &at.field("downwardAPI").field("items"), faults);
    }
    if let Some(token) = &source.service_account_token {
        named(&token.path, &at.field("serviceAccountToken"), "path", faults);
    }
}
