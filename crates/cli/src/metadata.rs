//! `label` and `annotate`: keys of `metadata.labels` and `metadata.annotations`, set by `KEY=VALUE`, removed by `KEY-`.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::args::MetadataArgs;
use crate::change::{change_each, map_at, pair, split};

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

    /// What is said of an object that was changed, and of one that was so already.
    fn words(self, changes: &[&str]) -> (&'static str, &'static str) {
        match self {
            Self::Labels if changes.iter().all(|change| pair(change).1.is_none()) => ("unlabeled", "not labeled"),
            Self::Labels => ("labeled", "not labeled"),
            Self::Annotations => ("annotated", "annotated"),
        }
    }
}

/// Changes the map of each object and prints a line for each.
pub async fn run(args: MetadataArgs, field: Field) -> anyhow::Result<()> {
    let (objects, changes) = split(&args.what)?;
    let (done, kept) = field.words(&changes);
    change_each(&objects, &args.chosen, (done, Some(kept)), |object| set(object, field, &changes, args.overwrite)).await
}

fn set(object: &mut Value, field: Field, changes: &[&str], overwrite: bool) -> anyhow::Result<()> {
    let map = map_at(object, &["metadata", field.key()]).context("its metadata is no map")?;
    for (key, value) in changes.iter().map(|change| pair(change)) {
        let Some(value) = value else {
            map.remove(key);
            continue;
        };
        match map.insert(key.to_owned(), value.into()) {
            Some(Value::String(old)) if old != value && !overwrite => {
                bail!("'{key}' already has a value ({old}), and --overwrite is false")
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_value_is_not_overwritten_unasked() {
        for (change, overwrite, expected) in [
            ("k=v", false, Some(json!({"k": "v"}))),
            ("k=w", false, None),
            ("k=w", true, Some(json!({"k": "w"}))),
            ("k-", false, Some(json!({}))),
            ("l=w", false, Some(json!({"k": "v", "l": "w"}))),
        ] {
            let mut object = json!({"metadata": {"labels": {"k": "v"}}});
            let done = set(&mut object, Field::Labels, &[change], overwrite);
            assert_eq!(done.ok().map(|()| object["metadata"]["labels"].clone()), expected, "{change}");
        }
        assert_eq!(Field::Labels.words(&["k-", "l-"]).0, "unlabeled");
        assert_eq!(Field::Labels.words(&["k-", "l=m"]).0, "labeled");
    }
}
