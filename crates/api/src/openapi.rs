//! OpenAPI documents of the resources, made from the types' schemas and the table of merge facts.
//!
//! Documents are made when they are asked for and not kept: a document is megabytes, and clients cache it by its hash.

mod binary;
mod paths;
mod schemas;
#[cfg(test)]
mod tests;
mod version2;

use std::io::Write;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::resource::{RESOURCES, Resource};
use schemas::Schemas;

/// The path of each document, and the hash of its content.
static HASHES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let mut paths: Vec<String> = RESOURCES.iter().map(group_path).collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().filter_map(|path| v3(&path).map(|document| (path, hash(&document)))).collect()
});

/// The document of `/openapi/v3`: a path for each group and version, with a hash that changes with its content.
pub fn v3_index() -> Value {
    let entry = |(path, hash): &(String, String)| {
        (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}))
    };
    json!({"paths": HASHES.iter().map(entry).collect::<Map<_, _>>()})
}

/// The document of one group and version (`api/v1`, `apis/apps/v1`); `None` where there is no such group.
pub fn v3(path: &str) -> Option<Value> {
    let resources: Vec<&Resource> = RESOURCES.iter().filter(|resource| group_path(resource) == path).collect();
    if resources.is_empty() {
        return None;
    }
    Some(document(&resources))
}

/// The media type of [`v2_binary`].
pub const V2_BINARY: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// What clients call it, though `@` may not stand in a media type.
pub const V2_BINARY_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The document of `/openapi/v2` in the form that kubectl reads, which checks lists by it and objects of unknown kinds.
pub fn v2_binary() -> Vec<u8> {
    binary::document(&v2())
}

/// The document of `/openapi/v2`, as JSON.
pub fn v2() -> Value {
    version2::convert(document(&RESOURCES.iter().collect::<Vec<_>>()))
}

fn document(resources: &[&Resource]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for resource in resources {
        paths::add(resource, &mut schemas, &mut paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "components": {"schemas": schemas.finish()},
    })
}

fn group_path(resource: &Resource) -> String {
    let prefix = if resource.group.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", resource.api_version())
}

/// FNV-1a, so that the text of a document is hashed as it is written and never held.
struct Fnv(u64);

impl Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hash(document: &Value) -> String {
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    // Neither a Value nor a hash can fail to be written.
    let _ = serde_json::to_writer(&mut fnv, document);
    format!("{:016X}", fnv.0)
}
