//! From JSON to a typed kind, as tolerant as Kubernetes: where the types are stricter, the JSON is mended first.

use serde_json::{Map, Value};

use crate::kinds::Kind;
use crate::resource::AdmitError;

/// Decodes what a client sent. Returns it beside its JSON, which was mended only where it did not fit at first.
pub(super) fn lenient<K: Kind>(mut object: Value) -> Result<(K, Value), AdmitError> {
    if !object.is_object() {
        return Err(malformed::<K>("the body is not an object"));
    }
    if let Ok(typed) = K::deserialize(&object) {
        return Ok((typed, object));
    }
    mend(&mut object);
    let typed = strict::<K>(&object)?;
    Ok((typed, object))
}

/// Decodes as the types have it. The error names the field, what was found, and what is expected.
pub(super) fn strict<K: Kind>(object: &Value) -> Result<K, AdmitError> {
    K::deserialize(object).or_else(|_| {
        serde_path_to_error::deserialize(object).map_err(|error| {
            let path = error.path().to_string();
            malformed::<K>(&format!("{path}: {}", error.into_inner()))
        })
    })
}

/// The 400 of a body that is no object of the kind.
pub(super) fn malformed<K: Kind>(why: &str) -> AdmitError {
    let (kind, version) = (K::KIND, K::VERSION);
    AdmitError::Malformed(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
}

/// Fields whose values are quantities, by name.
const QUANTITIES: [&str; 3] = ["sizeLimit", "divisor", "averageValue"];
/// Fields that hold maps of quantities, by name.
const QUANTITY_MAPS: [&str; 6] = ["limits", "requests", "capacity", "allocatable", "overhead", "podFixed"];
/// Maps of text, where null means the empty text.
const TEXT_MAPS: [&str; 6] = ["labels", "annotations", "matchLabels", "nodeSelector", "data", "stringData"];

/// Bare numbers as quantities become text, nulls in maps of text become empty, nulls in lists go.
fn mend(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.iter_mut().for_each(|(key, value)| mend_field(key, value));
        }
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(mend);
        }
        _ => {}
    }
}

fn mend_field(key: &str, value: &mut Value) {
    if QUANTITIES.contains(&key) {
        number_to_text(value);
    } else if let Some(map) = value.as_object_mut().filter(|_| QUANTITY_MAPS.contains(&key)) {
        map.values_mut().for_each(number_to_text);
    } else if let Some(map) = value.as_object_mut().filter(|_| TEXT_MAPS.contains(&key)) {
        null_to_empty(map);
    }
    mend(value);
}

fn number_to_text(value: &mut Value) {
    if value.is_number() {
        *value = Value::String(value.to_string());
    }
}

fn null_to_empty(map: &mut Map<String, Value>) {
    for value in map.values_mut().filter(|value| value.is_null()) {
        *value = Value::String(String::new());
    }
}
