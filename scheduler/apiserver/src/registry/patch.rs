//! What a patch makes of an object: JSON, merge and strategic merge patches, bounded in what they may cost.

use json_patch::{CopyOperation, Patch, PatchOperation};
use serde_json::Value;
use wherry_api::{Error, Reason, merge};
use wherry_client::PatchKind;

use super::Target;
use super::object::{check_type, set_meta};

/// How many operations a JSON patch may have: a Kubernetes API server's own limit.
const OPERATIONS_MAX: usize = 10_000;
/// What all `copy` operations of a patch may add, in bytes of JSON: copies of copies grow without end.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// The object that a patch leads to.
pub(super) fn patched(target: &Target, present: &Value, kind: PatchKind, patch: &Value) -> Result<Value, Error> {
    let mut object = present.clone();
    set_meta(&mut object, "resourceVersion", None)?;
    match kind {
        PatchKind::Json => json(&mut object, patch)?,
        PatchKind::Merge if !patch.is_object() => return Err(bad("a merge patch must be an object")),
        PatchKind::Merge => json_patch::merge(&mut object, patch),
        PatchKind::Strategic => {
            merge::strategic(target.resource, &mut object, patch).map_err(|e| bad(&e.to_string()))?;
        }
    }
    check_type(target.resource, &mut object)?;
    Ok(object)
}

/// Applies a JSON patch (RFC 6902); the object may be left half changed after an error.
pub(super) fn json(object: &mut Value, patch: &Value) -> Result<(), Error> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > OPERATIONS_MAX {
        let message = format!("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {count}");
        return Err(Error::new(Reason::RequestEntityTooLarge, message));
    }
    let patch: Patch =
        serde_json::from_value(patch.clone()).map_err(|e| bad(&format!("the JSON patch cannot be read: {e}")))?;
    if !patch.0.iter().any(|operation| matches!(operation, PatchOperation::Copy(_))) {
        return json_patch::patch(object, &patch).map_err(|e| impossible(&e));
    }
    let mut copied: usize = 0;
    for operation in patch.0 {
        if let PatchOperation::Copy(CopyOperation { from, .. }) = &operation {
            copied = copied.saturating_add(from.resolve(object).map_or(0, |value| value.to_string().len()));
        }
        if copied > COPIED_BYTES_MAX {
            let message = format!("the copies of the JSON patch come to more than {COPIED_BYTES_MAX} bytes");
            return Err(Error::new(Reason::RequestEntityTooLarge, message));
        }
        json_patch::patch(object, &[operation]).map_err(|e| impossible(&e))?;
    }
    Ok(())
}

fn bad(sentence: &str) -> Error {
    Error::new(Reason::BadRequest, sentence)
}

fn impossible(error: &json_patch::PatchError) -> Error {
    Error::new(Reason::Invalid, format!("the server rejected our request due to an error in our request: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(patch: Value, expected: Result<Value, Reason>) {
        let mut object = json!({"a": ["x".repeat(1000)]});
        let outcome = json(&mut object, &patch).map(|()| object).map_err(|error| error.reason);
        assert_eq!(outcome, expected);
    }

    #[test]
    fn json_patches_are_bounded() {
        check(json!([{"op": "add", "path": "/b", "value": 1}, {"op": "remove", "path": "/a"}]), Ok(json!({"b": 1})));
        check(json!([{"op": "test", "path": "/a", "value": 1}]), Err(Reason::Invalid));
        check(json!({"op": "add"}), Err(Reason::BadRequest));
        let copy = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        check(Value::Array(vec![copy.clone(); 60]), Err(Reason::RequestEntityTooLarge));
        check(Value::Array(vec![copy; OPERATIONS_MAX + 1]), Err(Reason::RequestEntityTooLarge));
    }
}
