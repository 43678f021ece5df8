//! `delete` and `deletecollection`: at once, or after finalizers, a grace period, or a namespace's content are done.

use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use wherry_api::{Error, Reason};
use wherry_client::{DeleteOptions, ListOptions, Propagation};
use wherry_store::{Command, Conflict, Entry, Expect, ProposeError};

use super::object::{decode, is_deleting, may_go, meta, meta_mut};
use super::{Page, Registry, Target, WRITE_TRIES_MAX, encoded, unwritten};

/// How many objects of a collection are deleted at once.
const DELETES_TOGETHER: usize = 64;
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What became of a deletion.
#[derive(Clone, Debug)]
pub(crate) enum Deleted {
    /// Gone; its last state and its uid.
    Gone(String),
    /// Marked; the object as it is now.
    Marked(Bytes),
}

impl Registry {
    /// Deletes one object.
    pub(crate) async fn delete(
        &self,
        target: &Target,
        options: &DeleteOptions,
        dry_run: bool,
    ) -> Result<Deleted, Error> {
        for _ in 0..WRITE_TRIES_MAX {
            let entry = self.entry(target).ok_or_else(|| target.not_found())?;
            let present = decode(&entry)?;
            check(target, &present, options)?;
            let marked = mark(target, &present, options, &self.inner.clock.now())?;
            if dry_run {
                let gone = may_go(&marked);
                return Ok(if gone {
                    Deleted::Gone(meta(&present, "uid").to_owned())
                } else {
                    Deleted::Marked(encoded(&marked)?.at(entry.revision))
                });
            }
            if let Some(done) = self.carry_out(target, &entry, &present, marked).await? {
                return Ok(done);
            }
        }
        Err(target.resource.conflict(&target.key.name, "it changes too quickly; try again"))
    }

    async fn carry_out(
        &self,
        target: &Target,
        entry: &Entry,
        present: &Value,
        marked: Value,
    ) -> Result<Option<Deleted>, Error> {
        let (resource, key, expect) = (target.resource, target.key.clone(), Expect::Revision(entry.revision));
        let gone = may_go(&marked);
        if !gone && marked == *present {
            return Ok(Some(Deleted::Marked(entry.json.clone())));
        }
        let command = if gone {
            Command::Delete { resource, key, expect }
        } else {
            Command::Put { resource, key, expect, object: encoded(&marked)? }
        };
        match self.store().propose(command).await {
            Ok(_) if gone => Ok(Some(Deleted::Gone(meta(present, "uid").to_owned()))),
            Ok(applied) => Ok(Some(Deleted::Marked(applied.entry.json.clone()))),
            Err(ProposeError::Conflict(Conflict::Exists(_))) => Ok(None),
            Err(ProposeError::Conflict(Conflict::Missing)) => Err(target.not_found()),
            Err(other) => Err(unwritten(&other)),
        }
    }

    /// Deletes all objects that are selected, and answers with them; those that vanish meanwhile are fine.
    pub(crate) async fn delete_collection(
        &self,
        resource: &'static wherry_api::Resource,
        namespace: Option<&str>,
        which: &ListOptions,
        options: &DeleteOptions,
        dry_run: bool,
    ) -> Result<Page, Error> {
        let page = self.list(resource, namespace, which)?;
        let targets: Vec<Target> = page.entries.iter().map(|(key, _)| Target { resource, key: key.clone() }).collect();
        // Side by side, so that many share a write to the disk; a few at a time, so that others get their turn.
        let mut deletions = stream::iter(targets)
            .map(|target| self.delete_if_there(target, options, dry_run))
            .buffer_unordered(DELETES_TOGETHER);
        while let Some(outcome) = deletions.next().await {
            outcome?;
        }
        drop(deletions);
        Ok(page)
    }

    async fn delete_if_there(&self, target: Target, options: &DeleteOptions, dry_run: bool) -> Result<(), Error> {
        match self.delete(&target, options, dry_run).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn check(target: &Target, present: &Value, options: &DeleteOptions) -> Result<(), Error> {
    let wanted = &options.precondition;
    for (what, wanted, field) in
        [("UID", &wanted.uid, "uid"), ("ResourceVersion", &wanted.resource_version, "resourceVersion")]
    {
        let own = meta(present, field);
        if !wanted.is_empty() && wanted != own {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {own}");
            return Err(target.resource.conflict(&target.key.name, &why));
        }
    }
    Ok(())
}

/// The object with the marks of its deletion; where nothing keeps it, `may_go` holds of it.
fn mark(target: &Target, present: &Value, options: &DeleteOptions, now: &jiff::Timestamp) -> Result<Value, Error> {
    let mut object = present.clone();
    let grace = grace_seconds(target, present, options);
    let before = present.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    let until = now.as_second().saturating_add(grace);
    let text = jiff::Timestamp::from_second(until).unwrap_or(*now).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let metadata = meta_mut(&mut object)?;
    // A second deletion can shorten the time, not extend it.
    if before.is_none_or(|before| grace < before) {
        metadata.insert("deletionTimestamp".into(), text.into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    }
    if !is_deleting(present) {
        add_finalizer(metadata, options.propagation);
        // Deletion counts as a change of what is desired.
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|number| *number > 0) {
            metadata.insert("generation".into(), (generation + 1).into());
        }
    }
    if target.resource.kind == "Namespace"
        && let Some(map) = object.as_object_mut()
        && let Some(status) = map.entry("status").or_insert_with(|| json!({})).as_object_mut()
    {
        status.insert("phase".into(), "Terminating".into());
    }
    Ok(object)
}

fn add_finalizer(metadata: &mut serde_json::Map<String, Value>, propagation: Propagation) {
    let finalizer = match propagation {
        Propagation::Background => return,
        Propagation::Foreground => FOREGROUND,
        Propagation::Orphan => ORPHAN,
    };
    let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|f| f == finalizer)
    {
        list.push(finalizer.into());
    }
}

/// Only pods that a node has, and that have not ended, are given time.
fn grace_seconds(target: &Target, present: &Value, options: &DeleteOptions) -> i64 {
    let text = |pointer| present.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let ended = matches!(text("/status/phase"), "Succeeded" | "Failed");
    if target.resource.kind != "Pod" || text("/spec/nodeName").is_empty() || ended {
        return 0;
    }
    let own = present.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    // A negative time means the shortest.
    let seconds = options.grace_period_seconds.or(own).unwrap_or(30);
    if seconds < 0 { 1 } else { seconds }
}
