//! Where a fault is, and the list of an object's faults in Kubernetes' words.
//!
//! A path lives on the stack and becomes text only when there is a fault. Follows
//! `k8s.io/apimachinery/pkg/util/validation/field`.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use crate::error::Cause;

/// The path of a field, from the object's root.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root(&'static str),
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    pub(crate) fn field(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }

    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }

    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

/// How many faults are told: an object of nothing else should not grow the answer without end.
const FAULTS_MAX: usize = 100;

/// All faults of one object.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<Cause>);

impl Faults {
    fn add(&mut self, at: &Path<'_>, reason: &'static str, message: String) {
        if self.0.len() >= FAULTS_MAX {
            return;
        }
        self.0.push(Cause { reason, field: at.to_string(), message });
    }

    pub(crate) fn required(&mut self, at: &Path<'_>, why: &str) {
        let separator = if why.is_empty() { "" } else { ": " };
        self.add(at, "FieldValueRequired", format!("Required value{separator}{why}"));
    }

    pub(crate) fn invalid(&mut self, at: &Path<'_>, value: impl Serialize, why: &str) {
        self.add(at, "FieldValueInvalid", format!("Invalid value: {}: {why}", shown(value)));
    }

    pub(crate) fn duplicate(&mut self, at: &Path<'_>, value: impl Serialize) {
        self.add(at, "FieldValueDuplicate", format!("Duplicate value: {}", shown(value)));
    }

    pub(crate) fn not_found(&mut self, at: &Path<'_>, value: impl Serialize) {
        self.add(at, "FieldValueNotFound", format!("Not found: {}", shown(value)));
    }

    pub(crate) fn forbidden(&mut self, at: &Path<'_>, why: &str) {
        self.add(at, "FieldValueForbidden", format!("Forbidden: {why}"));
    }

    pub(crate) fn too_long(&mut self, at: &Path<'_>, max: usize) {
        self.add(at, "FieldValueTooLong", format!("Too long: may not be more than {max} bytes"));
    }

    pub(crate) fn too_many(&mut self, at: &Path<'_>, count: usize, max: usize) {
        self.add(at, "FieldValueTooMany", format!("Too many: {count}: must have at most {max} items"));
    }

    pub(crate) fn unsupported(&mut self, at: &Path<'_>, value: impl Serialize, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(shown).collect();
        let message = format!("Unsupported value: {}: supported values: {}", shown(value), supported.join(", "));
        self.add(at, "FieldValueNotSupported", message);
    }

    /// The faults that a grammar found in `value`.
    pub(crate) fn all(&mut self, at: &Path<'_>, value: impl Serialize + Copy, found: Vec<String>) {
        for why in found {
            self.invalid(at, value, &why);
        }
    }

    /// A value of a closed set; absent is fine.
    pub(crate) fn one_of(&mut self, at: &Path<'_>, value: Option<&str>, supported: &[&str]) {
        if let Some(value) = value.filter(|v| !supported.contains(v)) {
            self.unsupported(at, value, supported);
        }
    }

    pub(crate) fn not_negative(&mut self, at: &Path<'_>, value: Option<i64>) {
        if let Some(value) = value.filter(|v| *v < 0) {
            self.invalid(at, value, "must be greater than or equal to 0");
        }
    }

    /// A field that may not change after creation.
    pub(crate) fn immutable<T: PartialEq + Serialize>(&mut self, at: &Path<'_>, new: &T, old: &T) {
        if new != old {
            self.invalid(at, new, "field is immutable");
        }
    }
}

/// What is shown of a value that is at fault, in bytes.
const SHOWN_BYTES_MAX: usize = 1024;

fn shown(value: impl Serialize) -> String {
    let mut text = serde_json::to_string(&value).unwrap_or_default();
    if text.len() > SHOWN_BYTES_MAX {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Reports every value that occurs a second time.
pub(crate) fn unique<'a>(items: impl Iterator<Item = &'a str>, mut again: impl FnMut(usize, &'a str)) {
    let mut seen = HashSet::new();
    for (index, item) in items.enumerate() {
        if !seen.insert(item) {
            again(index, item);
        }
    }
}
