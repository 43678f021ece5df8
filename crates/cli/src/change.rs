//! The one way of all verbs that change fields of objects: an object is read, a pure function edits it, and what differs
//! goes back as a merge patch (RFC 7386) that holds for that very version; where somebody was quicker, all again.

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use wherry_api::Reason;
use wherry_client::ListOptions;

use crate::args::ChosenArgs;
use crate::objects::{Objects, select, shown, targets, text};

/// How often an object that somebody else changes, too, is read again.
const TRIES_MAX: u32 = 8;

const VERSION: &str = "/metadata/resourceVersion";

/// Changes all chosen objects and prints a line for each: `done`, or `kept` of those that were so already.
pub async fn change_each(
    words: &[String],
    chosen: &ChosenArgs,
    (done, kept): (&str, Option<&str>),
    edit: impl Fn(&mut Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let client = chosen.cluster.client()?;
    if !chosen.all && chosen.selector.is_empty() && targets(words)?.iter().any(|target| target.name.is_none()) {
        bail!("name the objects, or say -l or --all");
    }
    let options = ListOptions { labels: chosen.selector.clone(), ..ListOptions::default() };
    let namespace = Some(chosen.cluster.namespace.as_str());
    for (resource, object) in select(&client, words, namespace, &options).await? {
        let shown = shown(resource, &object);
        let objects = Objects::new(&client, resource, namespace);
        let changed = change(&objects, text(&object, "/metadata/name"), &edit).await.with_context(|| shown.clone())?;
        if let Some(said) = if changed { Some(done) } else { kept } {
            sayln!("{shown} {said}");
        }
    }
    Ok(())
}

/// Changes one object; whether it was another one before.
pub async fn change(
    objects: &Objects,
    name: &str,
    edit: impl Fn(&mut Value) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let mut tries = 1;
    loop {
        let before = objects.get(name).await?;
        let mut after = before.clone();
        edit(&mut after)?;
        let Some(mut patch) = difference(&before, &after) else { return Ok(false) };
        let version = text(&before, VERSION);
        pin(&mut patch, version);
        match objects.merge(name, "", &patch).await {
            Err(error) if error.reason == Reason::Conflict && tries < TRIES_MAX => tries += 1,
            // What the server writes in another way (`stringData`, a quantity) may be the same after all.
            outcome => return Ok(text(&outcome?, VERSION) != version),
        }
    }
}

/// Makes a patch hold for one version of the object only, unless it says itself for which.
pub fn pin(patch: &mut Value, version: &str) {
    let metadata = patch.as_object_mut().map(|patch| patch.entry("metadata").or_insert_with(|| json!({})));
    if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
        metadata.entry("resourceVersion").or_insert_with(|| version.into());
    }
}

/// The merge patch from one object to another; none where they are the same.
pub fn difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else { return Some(after.clone()) };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, new)| match old.get(key) {
        Some(old) => Some((key.clone(), difference(old, new)?)),
        None => Some((key.clone(), new.clone())),
    });
    Some(Value::Object(gone.chain(changed).collect()))
}

/// Words that name objects, and words that say what to change: `KEY=VALUE`, `KEY-`, `KEY=VALUE:EFFECT`.
pub fn split(words: &[String]) -> anyhow::Result<(Vec<String>, Vec<&str>)> {
    let is_change = |word: &&String| word.contains('=') || word.contains(':') || word.ends_with('-');
    let (changes, objects): (Vec<&String>, Vec<&String>) = words.iter().partition(is_change);
    if changes.is_empty() || objects.is_empty() {
        bail!("write the objects, then KEY=VALUE to set and KEY- to remove");
    }
    Ok((objects.into_iter().cloned().collect(), changes.into_iter().map(String::as_str).collect()))
}

/// `KEY=VALUE` sets, `KEY-` removes.
pub fn pair(change: &str) -> (&str, Option<&str>) {
    match change.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (change.trim_end_matches('-'), None),
    }
}

/// A map in an object, made where it is missing; nothing where something else is in its place.
pub fn map_at<'a>(object: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    path.iter()
        .try_fold(object.as_object_mut()?, |map, key| map.entry(*key).or_insert_with(|| json!({})).as_object_mut())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use wherry_api::kinds::{ConfigMap, Kind};
    use wherry_api::{Error, Resource};
    use wherry_client::{Client, PatchKind, RawWatch, Request, Transport, Verb, WatchOptions};

    use super::*;

    /// One object, which somebody else changes just before the first patches come.
    struct Contended {
        rivals: AtomicU32,
        version: AtomicU32,
    }

    #[async_trait]
    impl Transport for Contended {
        async fn send(&self, request: Request) -> Result<Bytes, Error> {
            let version = self.version.load(Ordering::Relaxed).to_string();
            let object = json!({"metadata": {"name": "m", "resourceVersion": version}, "data": {"a": "1"}});
            let Verb::Patch(PatchKind::Merge, patch) = request.verb else { return Ok(object.to_string().into()) };
            if self.rivals.load(Ordering::Relaxed) > 0 {
                self.rivals.fetch_sub(1, Ordering::Relaxed);
                self.version.fetch_add(1, Ordering::Relaxed);
                return Err(Error::new(Reason::Conflict, "the object has been modified"));
            }
            let expected = json!({"metadata": {"resourceVersion": version}, "data": {"b": "2"}});
            assert_eq!(serde_json::from_slice::<Value>(&patch).unwrap(), expected);
            Ok(json!({"metadata": {"resourceVersion": "99"}}).to_string().into())
        }

        async fn watch(&self, _: &'static Resource, _: Option<String>, _: WatchOptions) -> Result<RawWatch, Error> {
            Err(Error::new(Reason::MethodNotAllowed, "nothing to watch"))
        }
    }

    #[tokio::test]
    async fn who_was_slower_tries_again() {
        for (rivals, changed) in [(0, true), (TRIES_MAX - 1, true), (TRIES_MAX, false)] {
            let contended = Contended { rivals: AtomicU32::new(rivals), version: AtomicU32::new(5) };
            let client = Client::new(Arc::new(contended));
            let objects = Objects::new(&client, ConfigMap::resource(), Some("default"));
            let edit = |object: &mut Value| {
                map_at(object, &["data"]).map(|data| data.insert("b".to_owned(), "2".into()));
                Ok(())
            };
            assert_eq!(change(&objects, "m", edit).await.is_ok(), changed, "{rivals}");
            assert!(!change(&objects, "m", |_| Ok(())).await.unwrap(), "nothing to change is nothing to send");
        }
    }

    #[test]
    fn the_difference_leads_from_one_to_the_other() {
        for (before, after, patch) in [
            (json!({"a": 1}), json!({"a": 1}), None),
            (
                json!({"a": 1, "b": {"c": 1, "d": 2}}),
                json!({"b": {"c": 1}}),
                Some(json!({"a": null, "b": {"d": null}})),
            ),
            (json!({"l": [1, 2]}), json!({"l": [1]}), Some(json!({"l": [1]}))),
            (json!({}), json!({"m": {"n": []}}), Some(json!({"m": {"n": []}}))),
            (json!({"a": {"b": 1}}), json!({"a": 2}), Some(json!({"a": 2}))),
        ] {
            assert_eq!(difference(&before, &after), patch, "{before} {after}");
        }
    }

    #[test]
    fn words_are_objects_and_changes() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let all = words("pod a b k=v a.b/c=d=e old- t:NoSchedule-");
        let (objects, changes) = split(&all).unwrap();
        assert_eq!(objects, words("pod a b"));
        assert_eq!(changes, ["k=v", "a.b/c=d=e", "old-", "t:NoSchedule-"]);
        assert_eq!([pair("a=b=c"), pair("old-")], [("a", Some("b=c")), ("old", None)]);
        assert!(split(&words("pod a")).is_err() && split(&words("k=v")).is_err());
    }
}
