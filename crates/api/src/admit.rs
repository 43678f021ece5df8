//! Admission: from a client's JSON to the object that is stored. Decodes, finds unknown fields, defaults, decides about
//! status and generation, and validates; one generic function over the typed kinds, a pure one.
//!
//! It lacks what needs the server: names, uids and times are stamped, and revisions checked, by the API server.

use serde_json::{Map, Value};

use crate::kinds::Kind;
use crate::resource::{AdmitError, Admitted, FieldValidation, Subresource, Write};
use crate::validate::meta;
use crate::validate::names::{self, Faults as Sentences};
use crate::validate::path::Faults;

mod decode;
mod kinds;
#[cfg(test)]
mod tests;
mod unknown;

/// What admission knows about a kind.
pub(crate) trait Admit: Kind {
    /// The grammar of its names.
    const NAME: fn(&str) -> Sentences = names::dns1123_subdomain;
    /// Whether `metadata.generation` counts the changes of what is desired.
    const GENERATION: bool = false;
    /// Whether a client may bring the status of a new object (a kubelet registers its node so).
    const STATUS_ON_CREATE: bool = false;
    /// Top-level fields that defaulting consumes.
    const CONSUMED: &'static [&'static str] = &[];

    /// Fields that an update may leave out because the server chose them.
    fn carry_over(&mut self, _old: &Self) {}
    /// Fills what is absent.
    fn default(&mut self) {}
    /// The status of a new object.
    fn first_status(&self) -> Option<Value> {
        None
    }
    /// What only a new object is given, besides defaults.
    fn prepare_new(&mut self) {}
    /// The faults that only a new object can have.
    fn validate_new(&self, _faults: &mut Faults) {}
    /// The faults of an object.
    fn validate(&self, _faults: &mut Faults) {}
    /// The faults of a change.
    fn validate_update(&self, _old: &Self, _faults: &mut Faults) {}
}

/// Makes `object` what is stored: see [`crate::Resource::admit`].
pub(crate) fn admit<K: Admit>(
    write: Write,
    fields: FieldValidation,
    old: Option<&Value>,
    object: Value,
) -> Result<Admitted, AdmitError> {
    let (mut typed, object) = decode::lenient::<K>(object)?;
    if let (Write::UpdateStatus, Some(old)) = (write, old) {
        let new = encode(&typed)?;
        let warnings = unknown::fields::<K>(fields, &object, &new)?;
        return Ok(Admitted { object: with_status_of(old, new), warnings });
    }
    let before = old.map(decode::strict::<K>).transpose()?;
    match &before {
        Some(before) => typed.carry_over(before),
        None => typed.prepare_new(),
    }
    typed.default();
    let mut faults = Faults::default();
    meta::object(typed.metadata(), K::NAME, &mut faults);
    typed.validate(&mut faults);
    match &before {
        Some(before) => typed.validate_update(before, &mut faults),
        None => typed.validate_new(&mut faults),
    }
    // Unknown fields are looked for before the status goes, so that a typing error in it is told too.
    let mut new = encode(&typed)?;
    let warnings = unknown::fields::<K>(fields, &object, &new)?;
    if !faults.0.is_empty() {
        return Err(AdmitError::Invalid(faults.0));
    }
    match old {
        Some(old) => follow::<K>(old, &mut new),
        None => new = begin(&typed, new),
    }
    Ok(Admitted { object: new, warnings })
}

fn encode<K: Kind>(typed: &K) -> Result<Value, AdmitError> {
    serde_json::to_value(typed).map_err(|e| AdmitError::Malformed(e.to_string()))
}

fn has_status<K: Kind>() -> bool {
    K::resource().subresources.contains(&Subresource::Status)
}

/// A new object: its first generation, and the status that its kind begins with.
fn begin<K: Admit>(typed: &K, mut new: Value) -> Value {
    if let Some(object) = new.as_object_mut().filter(|_| has_status::<K>() && !K::STATUS_ON_CREATE) {
        match typed.first_status() {
            Some(status) => object.insert("status".into(), status),
            None => object.remove("status"),
        };
    }
    set_generation::<K>(&mut new, 1);
    new
}

/// A changed object: the status it had, and the next generation if what is desired differs.
fn follow<K: Admit>(old: &Value, new: &mut Value) {
    if let Some(object) = new.as_object_mut().filter(|_| has_status::<K>()) {
        match old.get("status") {
            Some(status) => object.insert("status".into(), status.clone()),
            None => object.remove("status"),
        };
    }
    let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    let next = generation + i64::from(!same_desire(old, new));
    set_generation::<K>(new, next);
}

fn set_generation<K: Admit>(object: &mut Value, generation: i64) {
    let meta = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(meta) = meta.filter(|_| K::GENERATION && generation > 0) {
        meta.insert("generation".into(), generation.into());
    }
}

/// Whether all but metadata and status is the same.
fn same_desire(old: &Value, new: &Value) -> bool {
    let desire = |value: &Value| value.as_object().map(|o| desired(o).count()).unwrap_or_default();
    let Some(wanted) = new.as_object() else { return true };
    desire(old) == desire(new) && desired(wanted).all(|(key, value)| old.get(key) == Some(value))
}

fn desired(object: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.iter().filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"))
}

/// The old object with the status of the new one.
fn with_status_of(old: &Value, mut new: Value) -> Value {
    let mut object = old.clone();
    let status = new.as_object_mut().and_then(|new| new.remove("status"));
    if let Some(object) = object.as_object_mut() {
        match status {
            Some(status) => object.insert("status".into(), status),
            None => object.remove("status"),
        };
    }
    object
}
