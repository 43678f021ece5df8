//! Fields that a kind does not have: those of the client's JSON that are gone after decoding.

use serde_json::{Map, Value};

use super::{Admit, decode};
use crate::resource::{AdmitError, FieldValidation};

/// At most these are named; an object of nothing else should not grow the answer.
const UNKNOWN_FIELDS_MAX: usize = 32;

/// The warnings about unknown fields of `sent`, which decoded to `kept`; an error where the client asked for strictness.
pub(super) fn fields<K: Admit>(mode: FieldValidation, sent: &Value, kept: &Value) -> Result<Vec<String>, AdmitError> {
    if mode == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    let mut unknown = missing::<K>(sent, kept);
    if !unknown.is_empty() {
        // What defaulting took away is not unknown: only here, where something is missing, it is decoded once more.
        let plain = serde_json::to_value(decode::strict::<K>(sent)?).unwrap_or_default();
        unknown = missing::<K>(sent, &plain);
    }
    let sentences: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if mode == FieldValidation::Strict && !sentences.is_empty() {
        return Err(decode::malformed::<K>(&format!("strict decoding error: {}", sentences.join(", "))));
    }
    Ok(sentences)
}

fn missing<K: Admit>(sent: &Value, kept: &Value) -> Vec<String> {
    let mut found = Found { consumed: K::CONSUMED, path: String::new(), unknown: Vec::new() };
    found.compare(sent, kept);
    found.unknown
}

struct Found {
    consumed: &'static [&'static str],
    path: String,
    unknown: Vec<String>,
}

impl Found {
    fn compare(&mut self, sent: &Value, kept: &Value) {
        match (sent, kept) {
            (Value::Object(sent), Value::Object(kept)) => self.compare_objects(sent, kept),
            (Value::Array(sent), Value::Array(kept)) => {
                for (index, (sent, kept)) in sent.iter().zip(kept).enumerate() {
                    self.within(&format!("[{index}]"), |found| found.compare(sent, kept));
                }
            }
            _ => {}
        }
    }

    fn compare_objects(&mut self, sent: &Map<String, Value>, kept: &Map<String, Value>) {
        for (key, value) in sent {
            let dot = if self.path.is_empty() { "" } else { "." };
            match kept.get(key) {
                // Leaves cannot hide a field: no path is built for them.
                Some(kept) if kept.is_object() || kept.is_array() => {
                    self.within(&format!("{dot}{key}"), |found| found.compare(value, kept));
                }
                Some(_) => {}
                None if is_nothing(value) || (dot.is_empty() && self.consumed.contains(&key.as_str())) => {}
                None if self.unknown.len() < UNKNOWN_FIELDS_MAX => {
                    self.unknown.push(format!("{}{dot}{key}", self.path))
                }
                None => {}
            }
        }
    }

    fn within(&mut self, step: &str, inner: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        inner(self);
        self.path.truncate(length);
    }
}

/// Null and empty values say nothing, and may vanish in decoding.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
