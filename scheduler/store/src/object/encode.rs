//! Writes an object's JSON with its metadata by hand, so that the place of `resourceVersion` is known for certain.

use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use wherry_api::Revision;

const REVISION: &str = "resourceVersion";
const METADATA: &str = "metadata";
/// What comes before the other members, as Kubernetes writes it: whoever looks for no more need not read on.
const FIRST: [&str; 3] = ["apiVersion", "kind", METADATA];

/// The object with an empty `resourceVersion`, and the offset between its quotes.
pub(super) fn with_hole(object: &Value) -> (Vec<u8>, usize) {
    let none = Map::new();
    let members = object.as_object().unwrap_or(&none);
    let metadata = members.get(METADATA).and_then(Value::as_object).unwrap_or(&none);
    let mut out = Vec::with_capacity(1024);
    let mut hole = 0;
    out.push(b'{');
    for (name, value) in ordered_with(members, METADATA) {
        member(&mut out, name);
        match value.filter(|_| name != METADATA) {
            Some(value) => write(&mut out, value),
            None => hole = write_metadata(&mut out, metadata),
        }
    }
    out.push(b'}');
    (out, hole)
}

fn write_metadata(out: &mut Vec<u8>, metadata: &Map<String, Value>) -> usize {
    let mut hole = 0;
    out.push(b'{');
    for (name, value) in ordered_with(metadata, REVISION) {
        member(out, name);
        match value.filter(|_| name != REVISION) {
            Some(value) => write(out, value),
            None => {
                out.extend_from_slice(b"\"\"");
                hole = out.len() - 1;
            }
        }
    }
    out.push(b'}');
    hole
}

/// The members, those of [`FIRST`] and then by name, with one that is always among them.
fn ordered_with<'a>(members: &'a Map<String, Value>, always: &'a str) -> Vec<(&'a str, Option<&'a Value>)> {
    let mut all: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), Some(value))).collect();
    if !members.contains_key(always) {
        all.push((always, None));
    }
    let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    all.sort_unstable_by_key(|(name, _)| (rank(name), *name));
    all
}

/// A member's name, after a comma where one is due.
fn member(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    write(out, name);
    out.push(b':');
}

fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    #[expect(clippy::expect_used, reason = "neither a Value nor a string can fail to encode into memory")]
    serde_json::to_writer(out, value).expect("values encode");
}

/// The JSON without the bytes in `range`.
pub(super) fn without(json: &Bytes, range: Range<usize>) -> Bytes {
    let (before, after) = (json.get(..range.start), json.get(range.end..));
    [before.unwrap_or_default(), after.unwrap_or_default()].concat().into()
}

/// The JSON with the bytes in `range` replaced by the revision's digits.
pub(super) fn splice(json: &Bytes, range: Range<usize>, revision: Revision) -> Bytes {
    let (Some(before), Some(after)) = (json.get(..range.start), json.get(range.end..)) else { return json.clone() };
    let digits = revision.to_string();
    let mut out = Vec::with_capacity(before.len() + digits.len() + after.len());
    out.extend_from_slice(before);
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(after);
    out.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::object::Encoded;
    use wherry_api::Revision;

    fn check(object: serde_json::Value, expected: &str) {
        let bytes = Encoded::new(&object).at(Revision(42));
        assert_eq!(std::str::from_utf8(&bytes), Ok(expected));
    }

    #[test]
    fn the_revision_goes_into_metadata_and_nowhere_else() {
        check(json!({}), r#"{"metadata":{"resourceVersion":"42"}}"#);
        check(json!(null), r#"{"metadata":{"resourceVersion":"42"}}"#);
        check(json!({"metadata": {"resourceVersion": "7"}}), r#"{"metadata":{"resourceVersion":"42"}}"#);
        check(
            json!({"aFirst": 1, "kind": "Pod", "metadata": {"name": "a", "uid": "u"}, "spec": {}, "apiVersion": "v1"}),
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","resourceVersion":"42","uid":"u"},"aFirst":1,"spec":{}}"#,
        );
        check(
            json!({"metadata": {"annotations": {"a": "{\"metadata\":{\"resourceVersion\":\"1\"}}"}}}),
            r#"{"metadata":{"annotations":{"a":"{\"metadata\":{\"resourceVersion\":\"1\"}}"},"resourceVersion":"42"}}"#,
        );
    }
}
