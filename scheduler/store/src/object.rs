//! Objects as bytes: encoded once per version, with a small index of what selectors and controllers ask.

use std::collections::BTreeMap;

use bytes::Bytes;
use wherry_api::Revision;

/// An encoded object with a hole where its `resourceVersion` goes, which is known only when it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    json: Bytes,
    revision_at: u32,
}

impl Encoded {
    /// Encodes an object, leaving out its `metadata.resourceVersion`.
    pub fn new(object: &serde_json::Value) -> Self {
        let _ = object;
        Self { json: Bytes::new(), revision_at: 0 }
    }

    /// The whole object, with its revision.
    pub fn at(&self, revision: Revision) -> Bytes {
        let _ = (revision, &self.json, self.revision_at);
        Bytes::new()
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

/// What selectors and owners ask of an object, so that it need not be decoded for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// `metadata.labels`.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// The resource's selectable fields, in the order of its row; missing ones are empty.
    pub fields: Box<[Box<str>]>,
    /// `metadata.uid`.
    pub uid: Box<str>,
}
