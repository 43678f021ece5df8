//! Strategic merge patch, the three-way merge of apply, and the one table of merge facts (patch merge keys, list types and map keys).
//!
//! Follows `k8s.io/apimachinery/pkg/util/strategicpatch`. Where the target has no such field, a nested patch is merged
//! into an empty object, so that no directive is ever stored.

mod apply;
pub mod facts;
mod lists;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::protobuf::schema::{Message, root};
use crate::resource::Resource;
use facts::Fact;

pub use apply::three_way;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER_PREFIX: &str = "$setElementOrder/";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";

/// Why a strategic merge patch cannot be applied: a sentence for the client, a 400 or 422.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MergeError(pub String);

/// Merges `patch` into `target`, an object of `resource`. The target may be left half merged after an error.
pub fn strategic(resource: &Resource, target: &mut Value, patch: &Value) -> Result<(), MergeError> {
    let Value::Object(patch) = patch else {
        return error("a strategic merge patch must be an object");
    };
    merge_object(Type(root(&resource.api_version(), resource.kind)), object(target), patch)
}

fn error<T>(message: impl Into<String>) -> Result<T, MergeError> {
    Err(MergeError(message.into()))
}

/// The Go type at a place in the object; nothing for maps, leaves and fields that are not known.
#[derive(Clone, Copy)]
struct Type(Option<&'static Message>);

impl Type {
    fn child(self, field: &str) -> Self {
        Self(self.0.and_then(|message| message.child(field)))
    }

    fn fact(self, field: &str) -> Option<&'static Fact> {
        self.0.and_then(|message| facts::find(message.name, field))
    }

    fn merging(self, field: &str) -> Option<&'static Fact> {
        self.fact(field).filter(|fact| fact.merges())
    }
}

/// The value as an object; anything else becomes an empty one.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        #[expect(clippy::unreachable, reason = "the line above made it an object")]
        _ => unreachable!(),
    }
}

/// The value as a list; anything else becomes an empty one.
fn list(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(items) => items,
        #[expect(clippy::unreachable, reason = "the line above made it a list")]
        _ => unreachable!(),
    }
}

fn merge_object(kind: Type, target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), MergeError> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(Value::String(word)) if word == "delete" => {
            target.clear();
            return Ok(());
        }
        Some(Value::String(word)) if word == "replace" => target.clear(),
        Some(other) => return error(format!("unknown patch type: {other} in map")),
    }
    let orders = lists::orders(kind, target, patch)?;
    retain_keys(target, patch)?;
    for (key, value) in patch {
        merge_field(kind, target, key, value)?;
    }
    orders.iter().for_each(|order| order.apply(target));
    Ok(())
}

/// `$retainKeys`: the target keeps only the named fields.
fn retain_keys(target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), MergeError> {
    let keys = match patch.get(RETAIN_KEYS) {
        None => return Ok(()),
        Some(Value::Array(keys)) => keys,
        Some(_) => return error("the value of $retainKeys must be a list"),
    };
    let retained = |key: &str| keys.iter().any(|kept| kept.as_str() == Some(key));
    let stray = patch.iter().find(|(key, value)| !key.starts_with('$') && !value.is_null() && !retained(key));
    if let Some((key, _)) = stray {
        return error(format!("$retainKeys must list every field of the patch, and lacks \"{key}\""));
    }
    target.retain(|key, _| retained(key));
    Ok(())
}

fn merge_field(kind: Type, target: &mut Map<String, Value>, key: &str, patch: &Value) -> Result<(), MergeError> {
    if let Some(field) = key.strip_prefix(DELETE_PREFIX) {
        return lists::delete_values(kind, target, field, patch);
    }
    match patch {
        _ if key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(ORDER_PREFIX) => {}
        _ if key.starts_with('$') => return error(format!("unknown directive \"{key}\" in the patch")),
        Value::Null => {
            target.remove(key);
        }
        Value::Object(patch) => {
            let value = target.entry(key).or_insert(Value::Null);
            merge_object(kind.child(key), object(value), patch)?;
        }
        Value::Array(patch) => {
            let value = target.entry(key).or_insert(Value::Null);
            match kind.merging(key) {
                Some(fact) => lists::merge(kind.child(key), fact, list(value), patch)?,
                None => *value = Value::Array(patch.clone()),
            }
        }
        plain => {
            target.insert(key.to_owned(), plain.clone());
        }
    }
    Ok(())
}
