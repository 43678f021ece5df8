//! Reads a few fields out of an object's JSON in one pass, without building the rest, and no further than is needed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Index, Labels};

/// The index of an object; what is missing or of another type stays empty.
pub(super) fn index(selectable: &[&'static str], json: &[u8]) -> Index {
    let mut found = Index { fields: vec![Arc::default(); selectable.len()].into(), ..Index::default() };
    let paths = selectable.iter().enumerate().map(|(place, path)| (place, spelled_out(path))).collect();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    // The bytes are our own encoder's; were they not JSON, the index would hold what came before the fault. That there is
    // enough is told as a fault, too.
    let _ = Level { paths, inside: Inside::Object, found: &mut found }.deserialize(&mut deserializer);
    found
}

/// The one selectable field whose name is not its path.
fn spelled_out(path: &'static str) -> &'static str {
    if path == "source" { "source.component" } else { path }
}

/// Where the digits of `metadata.resourceVersion` are.
pub(super) fn revision_range(json: &[u8]) -> Option<Range<usize>> {
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        metadata: Metadata<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata<'a> {
        #[serde(borrow)]
        resource_version: &'a RawValue,
    }
    let object: Object<'_> = serde_json::from_slice(json).ok()?;
    let quoted = object.metadata.resource_version.get();
    let start = (quoted.as_ptr() as usize).checked_sub(json.as_ptr() as usize)?;
    Some(start + 1..start + quoted.len().checked_sub(1)?)
}

/// Which map is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Object,
    Metadata,
    Other,
}

/// One value of the object: the selectable paths that lead through it (an empty rest: it is the field itself).
struct Level<'a> {
    paths: Vec<(usize, &'static str)>,
    inside: Inside,
    found: &'a mut Index,
}

impl Level<'_> {
    /// The paths that lead through a member, without that step.
    fn through(&self, member: &str) -> Vec<(usize, &'static str)> {
        let step = |path: &'static str| {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            (first == member).then_some(rest)
        };
        self.paths.iter().filter_map(|(place, path)| Some((*place, step(path)?))).collect()
    }

    fn keep(self, text: &str) {
        let text: Arc<str> = text.into();
        for (place, _) in self.paths.iter().filter(|(_, rest)| rest.is_empty()) {
            if let Some(field) = self.found.fields.get_mut(*place) {
                *field = Arc::clone(&text);
            }
        }
    }

    fn read_member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match (self.inside, name) {
            (Inside::Metadata, "labels") => {
                self.found.labels = Arc::new(map.next_value::<Option<Labels>>()?.unwrap_or_default())
            }
            (Inside::Metadata, "uid") => self.found.uid = map.next_value()?,
            _ => {
                let top = self.inside == Inside::Object;
                let inside = if top && name == "metadata" { Inside::Metadata } else { Inside::Other };
                let paths = self.through(name);
                if paths.is_empty() && inside == Inside::Other {
                    map.next_value::<IgnoredAny>()?;
                } else {
                    map.next_value_seed(Level { paths, inside, found: self.found })?;
                }
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Name>()? {
            self.read_member(&name.0, &mut map)?;
            if self.inside == Inside::Object && name.0 == "metadata" && self.paths.is_empty() {
                return Err(A::Error::custom("there is nothing to be found behind the metadata"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.keep(text);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.keep(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.keep(&value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.keep(&value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.keep(&value.to_string());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: &[&str] = &["spec.nodeName", "spec.unschedulable", "status.replicas", "source", "type"];

    fn check(json: &str, labels: &[(&str, &str)], uid: &str, fields: [&str; 5]) {
        let found = index(PATHS, json.as_bytes());
        let texts: Vec<&str> = found.fields.iter().map(|field| &**field).collect();
        let pairs: Vec<(&str, &str)> = found.labels.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!((texts.as_slice(), pairs.as_slice(), &*found.uid), (fields.as_slice(), labels, uid), "{json}");
    }

    #[test]
    fn finds_labels_uid_and_selectable_fields() {
        check("{}", &[], "", [""; 5]);
        check(
            r#"{"metadata":{"labels":{"a":"b"},"uid":"u","x":{"labels":{"no":"no"}}},"spec":{"nodeName":"n","unschedulable":true,"deep":[{"nodeName":"no"}]},"status":{"replicas":3},"type":"Opaque"}"#,
            &[("a", "b")],
            "u",
            ["n", "true", "3", "", "Opaque"],
        );
        check(
            r#"{"metadata":{"labels":null},"spec":null,"source":{"component":"kubelet"},"type":null}"#,
            &[],
            "",
            ["", "", "", "kubelet", ""],
        );
    }

    #[test]
    fn reads_no_further_than_it_must() {
        let json = br#"{"kind":"ConfigMap","metadata":{"labels":{"a":"b"},"uid":"u"},no JSON"#;
        let found = index(&[], json);
        assert_eq!((&*found.uid, found.labels.len()), ("u", 1));
        assert_eq!(index(&["type"], br#"{"metadata":{"uid":"u"},"type":"t"}"#).fields[0].as_ref(), "t");
    }

    #[test]
    fn finds_the_revision_in_spite_of_lookalikes() {
        let json = br#"{"a":{"resourceVersion":"1"},"metadata":{"annotations":{"resourceVersion":"2"},"resourceVersion":"33"}}"#;
        let range = revision_range(json).unwrap();
        assert_eq!(&json[range], b"33");
    }
}
