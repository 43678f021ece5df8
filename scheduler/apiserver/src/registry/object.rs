//! Objects as JSON values: the few fields of `metadata` that the verbs themselves look at.

use serde_json::{Map, Value};
use wherry_api::resource::AdmitError;
use wherry_api::{Error, Reason, Resource};
use wherry_store::Entry;

/// Decodes a stored object. Stored objects are our own encoding, so this fails only where the disk lied.
pub(super) fn decode(entry: &Entry) -> Result<Value, Error> {
    serde_json::from_slice(&entry.json)
        .map_err(|e| Error::new(Reason::InternalError, format!("a stored object cannot be read: {e}")))
}

/// A text of `metadata`; empty where it is missing.
pub(super) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata`, made where it is missing.
pub(super) fn meta_mut(object: &mut Value) -> Result<&mut Map<String, Value>, Error> {
    let fault = || Error::new(Reason::BadRequest, "the object's metadata is no map");
    let map = object.as_object_mut().ok_or_else(|| Error::new(Reason::BadRequest, "the object is no map"))?;
    let metadata = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().ok_or_else(fault)
}

/// Sets or, with `None`, removes a field of `metadata`.
pub(super) fn set_meta(object: &mut Value, field: &str, value: Option<Value>) -> Result<(), Error> {
    let metadata = meta_mut(object)?;
    match value {
        Some(value) => metadata.insert(field.to_owned(), value),
        None => metadata.remove(field),
    };
    Ok(())
}

/// Whether a list of `metadata` or `spec` holds anything.
pub(super) fn has_items(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_array).is_some_and(|items| !items.is_empty())
}

/// Whether somebody has asked for the object's deletion.
pub(super) fn is_deleting(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// Whether nothing keeps a deleting object any more.
pub(super) fn may_go(object: &Value) -> bool {
    let graceless = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0) == 0;
    is_deleting(object)
        && graceless
        && !has_items(object, "/metadata/finalizers")
        && !has_items(object, "/spec/finalizers")
}

/// The error of an object that is not admitted, in Kubernetes' words.
pub(super) fn refused(resource: &Resource, name: &str, error: AdmitError) -> Error {
    match error {
        AdmitError::Malformed(sentence) => Error::new(Reason::BadRequest, sentence),
        AdmitError::Invalid(causes) => {
            let mut listed: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
            listed.dedup();
            let faults = if listed.len() == 1 { listed.concat() } else { format!("[{}]", listed.join(", ")) };
            let message = format!("{} \"{name}\" is invalid: {faults}", qualified_kind(resource));
            let mut error = Error::new(Reason::Invalid, message).about(resource.group, resource.kind, name);
            error.causes = causes;
            error
        }
    }
}

fn qualified_kind(resource: &Resource) -> String {
    if resource.group.is_empty() { resource.kind.to_owned() } else { format!("{}.{}", resource.kind, resource.group) }
}

/// A body must be of the resource that it is sent to; what it leaves out is filled in.
pub(super) fn check_type(resource: &Resource, object: &mut Value) -> Result<(), Error> {
    let map = object.as_object_mut().ok_or_else(|| Error::new(Reason::BadRequest, "the body is no JSON object"))?;
    for (field, own) in [("apiVersion", resource.api_version()), ("kind", resource.kind.to_owned())] {
        let given = map.get(field).and_then(Value::as_str).unwrap_or_default();
        if !given.is_empty() && given != own {
            let message = format!("the {field} in the data ({given}) does not match the expected {field} ({own})");
            return Err(Error::new(Reason::BadRequest, message));
        }
        map.insert(field.to_owned(), own.into());
    }
    Ok(())
}
