//! `get` and `list`: bytes out of a snapshot; a page costs a page.

use std::ops::Bound;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wherry_api::selector::{Fields, Labels};
use wherry_api::{Error, ObjectKey, Reason, Resource, Revision};
use wherry_client::ListOptions;
use wherry_store::Entry;

use super::{Registry, Target};

/// Some objects of a collection, in the order of their keys.
pub(crate) struct Page {
    pub(crate) entries: Vec<(ObjectKey, Arc<Entry>)>,
    pub(crate) revision: Revision,
    /// Empty on the last page.
    pub(crate) continue_token: String,
    /// How many are left behind this page; known only where nothing is selected.
    pub(crate) remaining: Option<usize>,
}

/// Which objects are meant.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    labels: Labels,
    fields: Fields,
}

/// Where the next page begins. The revision is that of the first page; later pages show the present state, which
/// Kubernetes allows for a list that has expired, and is never older than what was shown.
#[derive(Serialize, Deserialize)]
struct Continue {
    #[serde(rename = "rv")]
    revision: u64,
    after: ObjectKey,
}

impl Registry {
    /// One object, encoded.
    pub(crate) fn get(&self, target: &Target) -> Result<Bytes, Error> {
        self.entry(target).map(|entry| entry.json.clone()).ok_or_else(|| target.not_found())
    }

    /// A collection, or a page of it.
    pub(crate) fn list(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<Page, Error> {
        let selection = Selection::parse(resource, &options.labels, &options.fields)?;
        let start = start(namespace, &options.continue_token)?;
        let snapshot = self.store().snapshot(resource);
        let within = |key: &ObjectKey| namespace.is_none_or(|namespace| *key.namespace == *namespace);
        let range = snapshot.objects.range((start, Bound::Unbounded)).take_while(|(key, _)| within(key));
        let mut chosen = range.filter(|(key, entry)| selection.accepts(resource, key, entry));
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let entries: Vec<_> =
            chosen.by_ref().take(limit).map(|(key, entry)| (key.clone(), Arc::clone(entry))).collect();
        let more = chosen.next().is_some();
        let rest =
            if more && selection.is_everything() && namespace.is_none() { Some(chosen.count() + 1) } else { None };
        let continue_token = match entries.last() {
            Some((after, _)) if more => encode(&Continue { revision: snapshot.revision.0, after: after.clone() }),
            _ => String::new(),
        };
        Ok(Page { entries, revision: snapshot.revision, continue_token, remaining: rest })
    }
}

impl Selection {
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Error> {
        let bad = |sentence: String| Error::new(Reason::BadRequest, sentence);
        let labels = Labels::parse(labels).map_err(|e| bad(format!("unable to parse requirement: {e}")))?;
        let fields = Fields::parse(fields).map_err(bad)?;
        for requirement in &fields.0 {
            let path = requirement.path.as_str();
            if !matches!(path, "metadata.name" | "metadata.namespace") && !resource.selectable.contains(&path) {
                return Err(bad(format!("field label not supported: {path}")));
            }
        }
        Ok(Self { labels, fields })
    }

    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn accepts(&self, resource: &Resource, key: &ObjectKey, entry: &Entry) -> bool {
        self.labels.matches_by(|label| entry.index.labels.get(label).map(|value| &**value))
            && self.fields.matches_by(|path| field(resource, key, entry, path))
    }
}

fn field<'a>(resource: &Resource, key: &'a ObjectKey, entry: &'a Entry, path: &str) -> Option<&'a str> {
    match path {
        "metadata.name" => Some(&key.name),
        "metadata.namespace" => Some(&key.namespace),
        _ => {
            let index = resource.selectable.iter().position(|selectable| *selectable == path)?;
            entry.index.fields.get(index).map(|value| &**value)
        }
    }
}

/// Where a list begins: behind the last page, or with the namespace.
fn start(namespace: Option<&str>, token: &str) -> Result<Bound<ObjectKey>, Error> {
    if token.is_empty() {
        return Ok(Bound::Included(ObjectKey::new(namespace.unwrap_or_default(), "")));
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let place: Option<Continue> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let place = place.ok_or_else(|| Error::new(Reason::BadRequest, "continue key is not valid"))?;
    Ok(Bound::Excluded(place.after))
}

fn encode(place: &Continue) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}
