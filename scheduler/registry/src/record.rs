//! What the masters agree on about one repository: its manifests, and the tags that stand for them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Digest, Reference};

/// The manifests and tags of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The media types of the manifests.
    pub(crate) manifests: BTreeMap<Digest, String>,
    /// What the tags stand for.
    pub(crate) tags: BTreeMap<String, Digest>,
}

/// What begins the key of a manifest in a record's data; no tag begins so.
const MANIFEST: char = '.';

impl Record {
    /// Reads what [`Self::data`] wrote. What is neither tag nor manifest is left out: anybody may have written it.
    pub(crate) fn parse(data: &BTreeMap<String, String>) -> Self {
        let mut record = Self::default();
        for (key, value) in data {
            match key.strip_prefix(MANIFEST) {
                Some(hex) => {
                    record.manifests.extend(format!("sha256:{hex}").parse().map(|digest| (digest, value.clone())))
                }
                None => record.tags.extend(value.parse().map(|digest| (key.clone(), digest))),
            }
        }
        record
    }

    /// As keys and values: a tag and its digest; a dot and a manifest's 64 digits, and its media type.
    pub(crate) fn data(&self) -> BTreeMap<String, String> {
        let manifests = self
            .manifests
            .iter()
            .map(|(digest, media_type)| (format!("{MANIFEST}{}", digest.hex()), media_type.clone()));
        let tags = self.tags.iter().map(|(tag, digest)| (tag.clone(), digest.to_string()));
        manifests.chain(tags).collect()
    }

    /// The digest and the media type that a tag or a digest stands for.
    pub(crate) fn find(&self, reference: &Reference) -> Option<(&Digest, &str)> {
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => self.tags.get(&**tag)?,
        };
        self.manifests.get_key_value(digest).map(|(digest, media_type)| (digest, media_type.as_str()))
    }

    /// Adds a manifest, under a tag where that is what it is called.
    pub(crate) fn put(&mut self, reference: &Reference, digest: &Digest, media_type: &str) {
        self.manifests.insert(digest.clone(), media_type.to_owned());
        if let Reference::Tag(tag) = reference {
            self.tags.insert(tag.as_ref().to_owned(), digest.clone());
        }
    }

    /// Removes a tag, and its manifest if nothing else names it; or a manifest with all its tags. An index goes with the
    /// manifests of its own. `refers_to` tells what a manifest refers to. False where there is no such manifest.
    pub(crate) fn remove(&mut self, reference: &Reference, refers_to: &dyn Fn(&Digest) -> Vec<Digest>) -> bool {
        let Some((digest, _)) = self.find(reference) else { return false };
        let digest = digest.clone();
        match reference {
            Reference::Tag(tag) => {
                self.tags.remove(&**tag);
                self.forget_unnamed(vec![digest], refers_to);
            }
            Reference::Digest(_) => {
                self.tags.retain(|_, other| *other != digest);
                self.manifests.remove(&digest);
                self.forget_unnamed(refers_to(&digest), refers_to);
            }
        }
        true
    }

    /// Removes those of the manifests that have no tag and are in no index, and so on with what they referred to.
    fn forget_unnamed(&mut self, mut ahead: Vec<Digest>, refers_to: &dyn Fn(&Digest) -> Vec<Digest>) {
        while let Some(digest) = ahead.pop() {
            let has_tag = self.tags.values().any(|named| *named == digest);
            let is_named = has_tag || self.manifests.keys().any(|other| refers_to(other).contains(&digest));
            if !is_named && self.manifests.remove(&digest).is_some() {
                ahead.extend(refers_to(&digest));
            }
        }
    }

    /// Adds what another record has; where both have a tag, this one's stays.
    pub(crate) fn join(&mut self, other: Self) {
        for (digest, media_type) in other.manifests {
            self.manifests.entry(digest).or_insert(media_type);
        }
        for (tag, digest) in other.tags {
            self.tags.entry(tag).or_insert(digest);
        }
    }

    /// The manifests of this one that another lacks.
    pub(crate) fn lost_in(&self, other: &Self) -> BTreeSet<Digest> {
        self.manifests.keys().filter(|digest| !other.manifests.contains_key(*digest)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_data() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let mut record = Record::default();
        record.put(&Reference::Tag("v1".into()), &one, "m/1");
        record.put(&Reference::Digest(two.clone()), &two, "m/2");
        assert_eq!(Record::parse(&record.data()), record);
        let mut data = record.data();
        data.extend([(".what".to_owned(), "x".to_owned()), ("tag".to_owned(), "no digest".to_owned())]);
        assert_eq!(Record::parse(&data), record);
    }

    #[test]
    fn what_was_there_stays_where_records_join() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let tagged = |tag: &str, digest: &Digest| {
            let mut record = Record::default();
            record.put(&Reference::Tag(tag.into()), digest, "m");
            record
        };
        let mut record = tagged("v1", &one);
        record.join(tagged("v1", &two));
        record.join(tagged("v2", &two));
        assert_eq!(record.tags, [("v1".to_owned(), one.clone()), ("v2".to_owned(), two.clone())].into());
        assert_eq!(record.lost_in(&tagged("v1", &one)), [two].into());
    }
}
