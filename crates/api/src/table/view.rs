//! Reading a JSON object by path, with Go's zero values for what is absent; and the texts that several kinds share.

use jiff::Timestamp;
use serde_json::Value;

use super::age;

/// What stands for a list or text that is empty.
pub(super) const NONE: &str = "<none>";

/// The text at a JSON pointer, or the empty text.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The text at a JSON pointer, or `otherwise` where it is absent or empty.
pub(super) fn text_or<'a>(object: &'a Value, pointer: &str, otherwise: &'a str) -> &'a str {
    match text(object, pointer) {
        "" => otherwise,
        found => found,
    }
}

/// The integer at a JSON pointer, or 0.
pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Whether `true` stands at a JSON pointer.
pub(super) fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The list at a JSON pointer, or an empty one.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// How many entries the map or list at a JSON pointer has.
pub(super) fn size(object: &Value, pointer: &str) -> usize {
    match object.pointer(pointer) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    }
}

/// The key and value pairs of the map of strings at a JSON pointer, sorted by key.
pub(super) fn pairs<'a>(object: &'a Value, pointer: &str) -> Vec<(&'a str, &'a str)> {
    let map = object.pointer(pointer).and_then(Value::as_object);
    let mut pairs: Vec<_> =
        map.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())).collect();
    pairs.sort_unstable();
    pairs
}

/// `metadata.name`.
pub(super) fn name(object: &Value) -> Value {
    text(object, "/metadata/name").into()
}

/// The age by `metadata.creationTimestamp`.
pub(super) fn age_of(object: &Value, now: Timestamp) -> Value {
    age::since(text(object, "/metadata/creationTimestamp"), now).into()
}

/// The texts at `pointer` of each item, joined by commas.
pub(super) fn joined(items: &[Value], pointer: &str) -> String {
    items.iter().map(|item| text(item, pointer)).collect::<Vec<_>>().join(",")
}

/// The first `shown` texts, and how many more there are.
pub(super) fn some_of(texts: &[String], shown: usize, empty: &str) -> String {
    let head = texts.get(..shown).unwrap_or(texts).join(",");
    match texts.len().checked_sub(shown) {
        Some(more) if more > 0 => format!("{head} + {more} more..."),
        _ if head.is_empty() => empty.to_owned(),
        _ => head,
    }
}

/// The status of the condition of a type, or the empty text.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let found = list(object, "/status/conditions").iter().find(|c| text(c, "/type") == kind);
    found.map(|c| text(c, "/status")).unwrap_or_default()
}
