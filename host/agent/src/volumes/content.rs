//! What files a volume of configuration holds. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use crate::downward::{self, Facts};
use crate::objects::Found;
use crate::tokens::Wanted;

/// The mode of a file where nothing else is said.
const MODE_DEFAULT: i32 = 0o644;

/// Files by their path in the volume.
pub type Files = BTreeMap<String, File>;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    pub mode: u32,
}

/// Why there are none: a sentence, and whether there may be later.
pub type Refusal = (String, bool);

/// One part of a volume of configuration.
pub enum Source<'a> {
    ConfigMap { name: &'a str, items: &'a [KeyToPath], optional: bool },
    Secret { name: &'a str, items: &'a [KeyToPath], optional: bool },
    Downward(&'a [DownwardAPIVolumeFile]),
    Token(&'a ServiceAccountTokenProjection),
}

/// Whether a volume holds configuration, which is read-only for containers.
pub fn is_files(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The parts of a volume of configuration; none where it is another kind.
pub fn sources(volume: &Volume) -> Vec<Source<'_>> {
    let mut sources = Vec::new();
    if let Some(map) = &volume.config_map {
        sources.push(Source::ConfigMap {
            name: &map.name,
            items: slice(&map.items),
            optional: map.optional == Some(true),
        });
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        sources.push(Source::Secret { name, items: slice(&secret.items), optional: secret.optional == Some(true) });
    }
    if let Some(downward) = &volume.downward_api {
        sources.push(Source::Downward(slice(&downward.items)));
    }
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    projected.for_each(|projection| sources.extend(projections(projection)));
    sources
}

fn projections(projection: &VolumeProjection) -> impl Iterator<Item = Source<'_>> {
    let map = projection.config_map.as_ref().map(|map| Source::ConfigMap {
        name: &map.name,
        items: slice(&map.items),
        optional: map.optional == Some(true),
    });
    let secret = projection.secret.as_ref().map(|secret| Source::Secret {
        name: &secret.name,
        items: slice(&secret.items),
        optional: secret.optional == Some(true),
    });
    let downward = projection.downward_api.as_ref().map(|downward| Source::Downward(slice(&downward.items)));
    let token = projection.service_account_token.as_ref().map(Source::Token);
    map.into_iter().chain(secret).chain(downward).chain(token)
}

fn slice<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

/// The files of a volume of configuration; an unsupported kind of volume is refused for good.
pub fn files(volume: &Volume, facts: &Facts<'_>, found: &Found) -> Result<Files, Refusal> {
    if !is_files(volume) {
        let kinds = "emptyDir, hostPath, configMap, secret, downwardAPI and projected";
        return Err((format!("this kind of volume is not supported; supported are {kinds}"), false));
    }
    let mode = mode(volume);
    let mut files = Files::new();
    for source in sources(volume) {
        add(&mut files, &source, mode, facts, found)?;
    }
    Ok(files)
}

fn mode(volume: &Volume) -> i32 {
    let map = volume.config_map.as_ref().and_then(|map| map.default_mode);
    let secret = volume.secret.as_ref().and_then(|secret| secret.default_mode);
    let downward = volume.downward_api.as_ref().and_then(|downward| downward.default_mode);
    let projected = volume.projected.as_ref().and_then(|projected| projected.default_mode);
    map.or(secret).or(downward).or(projected).unwrap_or(MODE_DEFAULT)
}

fn add(files: &mut Files, source: &Source<'_>, mode: i32, facts: &Facts<'_>, found: &Found) -> Result<(), Refusal> {
    match source {
        Source::ConfigMap { name, items, optional } => {
            let map = found.config_maps.get(*name);
            let data = map.map(|map| {
                let texts = map.data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_bytes()));
                let binary = map.binary_data.iter().flatten().map(|(key, bytes)| (key.as_str(), bytes.0.as_slice()));
                texts.chain(binary).collect()
            });
            add_keys(files, ("configmap", name), data, items, *optional, mode)
        }
        Source::Secret { name, items, optional } => {
            let secret = found.secrets.get(*name);
            let data = secret.map(|secret| {
                secret.data.iter().flatten().map(|(key, bytes)| (key.as_str(), bytes.0.as_slice())).collect()
            });
            add_keys(files, ("secret", name), data, items, *optional, mode)
        }
        Source::Downward(items) => items.iter().try_for_each(|item| add_downward(files, item, mode, facts)),
        Source::Token(projection) => {
            let none = || ("serviceAccountToken is not supported: this cluster makes no tokens".into(), false);
            let token = found.tokens.get(&Wanted::of(projection)).ok_or_else(none)?;
            insert(files, &projection.path, token.clone().into_bytes(), mode)
        }
    }
}

fn add_keys(
    files: &mut Files,
    (kind, name): (&str, &str),
    data: Option<BTreeMap<&str, &[u8]>>,
    items: &[KeyToPath],
    optional: bool,
    mode: i32,
) -> Result<(), Refusal> {
    let Some(data) = data else {
        return if optional { Ok(()) } else { Err((format!("{kind} \"{name}\" not found"), true)) };
    };
    if items.is_empty() {
        return data.into_iter().try_for_each(|(key, bytes)| insert(files, key, bytes.to_vec(), mode));
    }
    for item in items {
        match data.get(item.key.as_str()) {
            Some(bytes) => insert(files, &item.path, bytes.to_vec(), item.mode.unwrap_or(mode))?,
            None if optional => {}
            None => return Err((format!("references non-existent {kind} key: {}", item.key), true)),
        }
    }
    Ok(())
}

fn add_downward(files: &mut Files, item: &DownwardAPIVolumeFile, mode: i32, facts: &Facts<'_>) -> Result<(), Refusal> {
    let text = match (&item.field_ref, &item.resource_field_ref) {
        (Some(field), _) => downward::field(facts, &field.field_path),
        (None, Some(resource)) => downward::resource(facts, None, resource),
        (None, None) => Err("a downwardAPI item needs fieldRef or resourceFieldRef".into()),
    };
    let text = text.map_err(|error| (error, false))?;
    insert(files, &item.path, text.into_bytes(), item.mode.unwrap_or(mode))
}

/// Puts a file at `path`, unless that would lie outside the volume.
fn insert(files: &mut Files, path: &str, bytes: Vec<u8>, mode: i32) -> Result<(), Refusal> {
    let inside = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !inside || path.starts_with("..") {
        return Err((format!("path \"{path}\" must be relative and not contain '..'"), false));
    }
    files.insert(path.to_owned(), File { bytes, mode: u32::try_from(mode).unwrap_or(0o644) & 0o777 });
    Ok(())
}
