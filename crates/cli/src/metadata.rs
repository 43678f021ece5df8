//! `label` and `annotate`: keys of `metadata.labels` and `metadata.annotations`, set by `KEY=VALUE`, removed by `KEY-`.

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use wherry_client::ListOptions;

use crate::args::MetadataArgs;
use crate::objects::{Objects, select, shown, targets, text};

/// Which of the two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `metadata.labels`.
    Labels,
    /// `metadata.annotations`.
    Annotations,
}

impl Field {
    const fn key(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Labels => "labeled",
            Self::Annotations => "annotated",
        }
    }
}

/// Changes the map of each object and prints a line for each.
pub async fn run(args: MetadataArgs, field: Field) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let (objects, changes) = parse(&args.what)?;
    let all = args.all || !args.selector.is_empty();
    if !all && targets(&objects)?.iter().any(|target| target.name.is_none()) {
        bail!("name the objects, or say -l or --all");
    }
    let options = ListOptions { labels: args.selector.clone(), ..ListOptions::default() };
    let namespace = &args.cluster.namespace;
    for (resource, object) in select(&client, &objects, Some(namespace), &options).await? {
        let shown = shown(resource, &object);
        if !args.overwrite {
            refuse_overwriting(&object, field, &changes).with_context(|| shown.clone())?;
        }
        let patch = json!({"metadata": {field.key(): changes}});
        let target = Objects::new(&client, resource, Some(namespace));
        let name = text(&object, "/metadata/name");
        let after = target.merge(name, "", &patch).await.with_context(|| format!("cannot change {shown}"))?;
        let map = |object: &Value| object.pointer("/metadata").and_then(|meta| meta.get(field.key()).cloned());
        let unchanged = map(&after) == map(&object);
        sayln!("{shown} {}", if unchanged { "not changed" } else { field.done() });
    }
    Ok(())
}

/// The words that name objects, and the changes; `null` removes a key.
fn parse(words: &[String]) -> anyhow::Result<(Vec<String>, Map<String, Value>)> {
    let is_change = |word: &&String| word.contains('=') || word.ends_with('-');
    let (changes, objects): (Vec<_>, Vec<_>) = words.iter().partition(is_change);
    let change = |word: &String| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), Value::from(value)),
        None => (word.trim_end_matches('-').to_owned(), Value::Null),
    };
    if changes.is_empty() || objects.is_empty() {
        bail!("write the objects, then KEY=VALUE to set and KEY- to remove");
    }
    Ok((objects.into_iter().cloned().collect(), changes.into_iter().map(change).collect()))
}

fn refuse_overwriting(object: &Value, field: Field, changes: &Map<String, Value>) -> anyhow::Result<()> {
    let present = object.pointer("/metadata").and_then(|meta| meta.get(field.key()));
    for (key, value) in changes.iter().filter(|(_, value)| !value.is_null()) {
        if let Some(old) = present.and_then(|map| map.get(key)).filter(|old| *old != value) {
            bail!("\"{key}\" already has the value {old}; say --overwrite to change it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn words_are_objects_and_changes() {
        let (objects, changes) = parse(&words("pod a b k=v a.b/c=d=e old-")).unwrap();
        assert_eq!(objects, words("pod a b"));
        assert_eq!(Value::from(changes), json!({"k": "v", "a.b/c": "d=e", "old": null}));
        assert!(parse(&words("pod a")).is_err() && parse(&words("k=v")).is_err());
    }

    #[test]
    fn another_value_is_not_overwritten_unasked() {
        let object = json!({"metadata": {"labels": {"k": "v"}}});
        for (change, fine) in [("k=v", true), ("k=w", false), ("k-", true), ("l=w", true)] {
            let (_, changes) = parse(&words(&format!("pod {change}"))).unwrap();
            assert_eq!(refuse_overwriting(&object, Field::Labels, &changes).is_ok(), fine, "{change}");
        }
    }
}
