//! `apply`: objects of manifests, created or changed by a three-way merge with the last applied state, as kubectl does.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use wherry_api::merge::three_way;
use wherry_api::{Error, Reason, Resource, resource, yaml};
use wherry_client::Client;

use crate::args::ApplyArgs;
use crate::change::change;
use crate::objects::{Objects, singular, text};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Manifests are small; a file past this is a mistake.
const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What became of one object.
#[derive(Clone, Debug)]
pub struct Applied {
    /// `deployment.apps/web`.
    pub name: String,
    /// `created`, `configured` or `unchanged`.
    pub outcome: &'static str,
}

/// Applies the manifests and prints a line for each object.
pub async fn run(args: ApplyArgs) -> anyhow::Result<()> {
    let objects = read_manifests(&args.files)?;
    let client = args.cluster.client()?;
    apply_manifests(&client, &args.cluster.namespace, &objects, |applied| {
        sayln!("{} {}", applied.name, applied.outcome)
    })
    .await
}

/// The objects of files and directories (`*.yaml`, `*.yml`, `*.json`, in the order of their names).
pub fn read_manifests(files: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for file in files {
        for path in expand(file)? {
            let text = read(&path)?;
            let documents = yaml::parse(&text).with_context(|| format!("{} is no YAML", path.display()))?;
            objects.extend(documents.into_iter().flat_map(items));
        }
    }
    if objects.is_empty() {
        bail!("no objects in {}", files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "));
    }
    Ok(objects)
}

/// Applies objects in order, telling of each; stops at the first error, which names the object.
pub async fn apply_manifests(
    client: &Client,
    namespace: &str,
    objects: &[Value],
    mut tell: impl FnMut(Applied),
) -> anyhow::Result<()> {
    for object in objects {
        let (resource, name) = identify(object)?;
        let shown = format!("{}/{name}", singular(resource));
        let own = text(object, "/metadata/namespace");
        let namespace = if own.is_empty() { namespace } else { own };
        let target = Objects::new(client, resource, Some(namespace));
        let outcome =
            apply_one(resource, &target, name, object).await.with_context(|| format!("cannot apply {shown}"))?;
        tell(Applied { name: shown, outcome });
    }
    Ok(())
}

async fn apply_one(resource: &Resource, target: &Objects, name: &str, wanted: &Value) -> anyhow::Result<&'static str> {
    let wanted = annotated(wanted);
    let changed = change(target, name, |present| {
        three_way(resource, &last_applied(present), &wanted, present);
        Ok(())
    });
    match changed.await {
        Ok(true) => Ok("configured"),
        Ok(false) => Ok("unchanged"),
        Err(error) if error.downcast_ref().is_some_and(|e: &Error| e.reason == Reason::NotFound) => {
            target.create(&wanted).await?;
            Ok("created")
        }
        Err(error) => Err(error),
    }
}

/// The row of an object of a manifest.
pub fn row(object: &Value) -> anyhow::Result<&'static Resource> {
    let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    if version.is_empty() || kind.is_empty() {
        bail!("an object of the manifest has no apiVersion or no kind");
    }
    let found = resource::find_kind(version, kind);
    found.with_context(|| format!("no matches for kind \"{kind}\" in version \"{version}\""))
}

/// The row and name of an object of a manifest.
pub fn identify(object: &Value) -> anyhow::Result<(&'static Resource, &str)> {
    match (row(object)?, text(object, "/metadata/name")) {
        (row, "") => bail!("a {} of the manifest has no metadata.name", row.kind),
        found => Ok(found),
    }
}

fn annotated(wanted: &Value) -> Value {
    let mut object = wanted.clone();
    let line = format!("{wanted}\n");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(LAST_APPLIED.to_owned(), line.into());
        }
    }
    object
}

fn last_applied(present: &Value) -> Value {
    let annotations = present.pointer("/metadata/annotations");
    let text = annotations.and_then(|a| a.get(LAST_APPLIED)).and_then(Value::as_str);
    text.and_then(|t| serde_json::from_str(t).ok()).unwrap_or_else(|| json!({}))
}

fn items(document: Value) -> Vec<Value> {
    match document {
        Value::Object(mut map) if map.get("kind").and_then(Value::as_str) == Some("List") => {
            map.remove("items").and_then(|items| items.as_array().cloned()).unwrap_or_default()
        }
        other => vec![other],
    }
}

fn expand(file: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !file.is_dir() {
        return Ok(vec![file.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(file).with_context(|| format!("cannot read {}", file.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(fs::File::open(path).with_context(|| format!("cannot read {name}"))?)
    };
    let mut bytes = String::new();
    source.take(MANIFEST_BYTES_MAX + 1).read_to_string(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        bail!("{name} is larger than {MANIFEST_BYTES_MAX} bytes");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_kind_is_named() {
        let error = identify(&json!({"apiVersion": "v1", "kind": "Frob", "metadata": {"name": "x"}})).unwrap_err();
        assert_eq!(error.to_string(), "no matches for kind \"Frob\" in version \"v1\"");
    }
}
