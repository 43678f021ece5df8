//! Objects as bytes: encoded once per version, with a small index of what selectors and controllers ask.
//!
//! Knows JSON's syntax and where an object keeps its revision; knows nothing of any kind's fields but the
//! paths that its row calls selectable.

mod encode;
mod intern;
mod scan;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wherry_api::{Resource, Revision};

/// An encoded object with a hole where its `resourceVersion` goes, which is known only when it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    json: Bytes,
    revision_at: u32,
}

impl Encoded {
    /// Encodes an object, leaving out its `metadata.resourceVersion`. What is no JSON object counts as an empty one.
    pub fn new(object: &serde_json::Value) -> Self {
        let (json, hole) = encode::with_hole(object);
        Self { json: json.into(), revision_at: u32::try_from(hole).unwrap_or(u32::MAX) }
    }

    /// The whole object, with its revision.
    pub fn at(&self, revision: Revision) -> Bytes {
        encode::splice(&self.json, self.revision_at as usize..self.revision_at as usize, revision)
    }

    /// How many bytes it takes, its revision not counted.
    pub fn bytes(&self) -> usize {
        self.json.len()
    }

    pub(crate) fn index(&self, resource: &Resource) -> Index {
        Index::of(resource, &self.json)
    }
}

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its revision.
    pub revision: Revision,
    /// The whole object as JSON, `resourceVersion` included.
    pub json: Bytes,
    /// What selectors ask.
    pub index: Index,
}

impl Entry {
    /// What a field has that the resource's row calls selectable; empty where it is missing.
    pub fn field(&self, resource: &Resource, path: &str) -> &str {
        let place = resource.selectable.iter().position(|selectable| *selectable == path);
        place.and_then(|place| self.index.fields.get(place)).map(|value| &**value).unwrap_or_default()
    }

    /// The same object with another revision: how a deletion tells its last state.
    pub(crate) fn restamped(&self, revision: Revision) -> Self {
        let json = match scan::revision_range(&self.json) {
            Some(range) => encode::splice(&self.json, range, revision),
            None => self.json.clone(),
        };
        Self { revision, json, index: self.index.clone() }
    }

    /// The object without its revision, to be written again.
    pub(crate) fn encoded(&self) -> Option<Encoded> {
        let range = scan::revision_range(&self.json)?;
        let revision_at = u32::try_from(range.start).ok()?;
        Some(Encoded { json: encode::without(&self.json, range), revision_at })
    }

    /// An object as it was stored.
    pub(crate) fn stored(resource: &Resource, revision: Revision, json: Bytes, interner: &mut Interner) -> Arc<Self> {
        let mut index = Index::of(resource, &json);
        interner.share(&mut index);
        Arc::new(Self { revision, json, index })
    }
}

pub(crate) use intern::Interner;

/// An object's labels.
pub type Labels = BTreeMap<Box<str>, Box<str>>;

/// What selectors and owners ask of an object, so that it need not be decoded for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// `metadata.labels`; objects with equal labels share them.
    pub labels: Arc<Labels>,
    /// The resource's selectable fields, in the order of its row; missing ones are empty.
    pub fields: Box<[Arc<str>]>,
    /// `metadata.uid`.
    pub uid: Box<str>,
}

impl Index {
    /// Reads the index out of an object's JSON; what is missing or of another type stays empty.
    pub(crate) fn of(resource: &Resource, json: &[u8]) -> Self {
        scan::index(resource.selectable, json)
    }
}
