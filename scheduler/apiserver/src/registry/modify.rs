//! `update` and `patch`: read, change, admit, propose; again where somebody else was quicker.

use serde_json::{Map, Value};
use wherry_api::resource::{FieldValidation, Write};
use wherry_api::{Error, Reason, Revision};
use wherry_client::PatchKind;
use wherry_store::{Command, Conflict, Entry, Expect, ProposeError};

use super::object::{check_type, decode, is_deleting, may_go, meta, refused, set_meta};
use super::patch::patched;
use super::{
    Registry, Target, WRITE_TRIES_MAX, WriteOptions, Written, addresses, encoded, pod_security, service, unwritten,
};
use crate::restriction;

/// What only the server writes: a client's version of it is replaced by the present one.
const TEMPLATE: &str = "/spec/template";
const SERVERS_OWN: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "namespace"];

impl Registry {
    /// Replaces an object, or its `status`.
    pub(crate) async fn update(
        &self,
        target: &Target,
        subresource: &str,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Written, Error> {
        check_type(target.resource, &mut object)?;
        self.modify(target, subresource, options, |_| Ok(object.clone())).await
    }

    /// Changes an object, or its `status`, by a patch.
    pub(crate) async fn patch(
        &self,
        target: &Target,
        subresource: &str,
        kind: PatchKind,
        patch: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Error> {
        self.modify(target, subresource, options, |present| patched(target, present, kind, patch)).await
    }

    /// Reads, changes and writes an object; `change` is called anew after each lost race. A `resourceVersion` in the
    /// changed object that is not the present one is a conflict, and final.
    pub(super) async fn modify(
        &self,
        target: &Target,
        subresource: &str,
        options: &WriteOptions,
        change: impl Fn(&Value) -> Result<Value, Error>,
    ) -> Result<Written, Error> {
        let write = if matches!(subresource, "status" | "approval") { Write::UpdateStatus } else { Write::Update };
        for _ in 0..WRITE_TRIES_MAX {
            let entry = self.entry(target).ok_or_else(|| target.not_found())?;
            let present = decode(&entry)?;
            let wanted = change(&present)?;
            check_identity(target, &present, &wanted)?;
            let _held = addresses::hold(self, target.resource, Some(&present)).await;
            let (object, warnings) = self.admit_change(target, write, &present, wanted, options)?;
            if let Some(node) = &options.node {
                restriction::check_change(node, target.resource, &present, &object)?;
            }
            if is_same(&present, &object) {
                return Ok(Written { json: entry.json.clone(), warnings });
            }
            if options.dry_run {
                let json = encoded(&object)?.at(entry.revision);
                return Ok(Written { json, warnings });
            }
            if let Some(json) = self.put_changed(target, &entry, &object).await? {
                return Ok(Written { json, warnings });
            }
        }
        Err(target.resource.conflict(&target.key.name, "it changes too quickly; try again"))
    }

    fn admit_change(
        &self,
        target: &Target,
        write: Write,
        present: &Value,
        mut wanted: Value,
        options: &WriteOptions,
    ) -> Result<(Value, Vec<String>), Error> {
        keep_servers_own(present, &mut wanted)?;
        service::keep_addresses(target.resource, present, &mut wanted);
        if write == Write::Update {
            self.inner.config.tolerations.add(target.resource, &mut wanted);
        }
        let name = &target.key.name;
        let admitted = (target.resource.admit)(write, options.field_validation, Some(present), wanted);
        let mut admitted = admitted.map_err(|e| refused(target.resource, name, e))?;
        addresses::allocate(self, target.resource, &mut admitted.object, Some(present))?;
        if target.resource.kind != "Pod" && present.pointer(TEMPLATE) != admitted.object.pointer(TEMPLATE) {
            admitted.warnings.extend(pod_security::check(self, target.resource, &admitted.object)?);
        }
        Ok((admitted.object, admitted.warnings))
    }

    /// Writes the changed object, or removes it where nothing keeps it any more. `None`: somebody else was quicker.
    pub(super) async fn put_changed(
        &self,
        target: &Target,
        entry: &Entry,
        object: &Value,
    ) -> Result<Option<bytes::Bytes>, Error> {
        let (resource, key, expect) = (target.resource, target.key.clone(), Expect::Revision(entry.revision));
        let command = if may_go(object) {
            Command::Delete { resource, key, expect }
        } else {
            Command::Put { resource, key, expect, object: encoded(object)? }
        };
        match self.store().propose(command).await {
            Ok(applied) => Ok(Some(applied.entry.json.clone())),
            Err(ProposeError::Conflict(Conflict::Exists(_))) => Ok(None),
            Err(ProposeError::Conflict(Conflict::Missing)) => Err(target.not_found()),
            Err(other) => Err(unwritten(&other)),
        }
    }
}

/// The changed object must still be the same object, and the version that the client knows.
fn check_identity(target: &Target, present: &Value, wanted: &Value) -> Result<(), Error> {
    let resource = target.resource;
    let (name, namespace) = (meta(wanted, "name"), meta(wanted, "namespace"));
    if !name.is_empty() && *name != *target.key.name {
        let message =
            format!("the name of the object ({name}) does not match the name on the URL ({})", target.key.name);
        return Err(Error::new(Reason::BadRequest, message));
    }
    if !namespace.is_empty() && resource.namespaced && *namespace != *target.key.namespace {
        let message = format!(
            "the namespace of the object ({namespace}) does not match the namespace on the URL ({})",
            target.key.namespace
        );
        return Err(Error::new(Reason::BadRequest, message));
    }
    let uid = meta(wanted, "uid");
    if !uid.is_empty() && uid != meta(present, "uid") {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta(present, "uid"));
        return Err(resource.conflict(&target.key.name, &why));
    }
    let version = meta(wanted, "resourceVersion");
    if !version.is_empty() && version != "0" && version != meta(present, "resourceVersion") {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(resource.conflict(&target.key.name, why));
    }
    Ok(())
}

fn keep_servers_own(present: &Value, wanted: &mut Value) -> Result<(), Error> {
    for field in SERVERS_OWN {
        set_meta(wanted, field, present.pointer(&format!("/metadata/{field}")).cloned())?;
    }
    set_meta(wanted, "name", Some(meta(present, "name").into()))?;
    for never in ["resourceVersion", "selfLink", "managedFields"] {
        set_meta(wanted, never, None)?;
    }
    // Finalizers can be taken off an object that is being deleted, not put on.
    if is_deleting(present) {
        let before = present.pointer("/metadata/finalizers").cloned().unwrap_or_default();
        let kept = wanted.pointer("/metadata/finalizers").and_then(Value::as_array).map(|finalizers| {
            let known = |f: &&Value| before.as_array().is_some_and(|b| b.contains(f));
            Value::Array(finalizers.iter().filter(known).cloned().collect())
        });
        set_meta(wanted, "finalizers", kept.filter(|k| k.as_array().is_some_and(|k| !k.is_empty())))?;
    }
    Ok(())
}

/// Whether two versions are the same but for the revision.
fn is_same(present: &Value, object: &Value) -> bool {
    let (Some(a), Some(b)) = (present.as_object(), object.as_object()) else { return false };
    let rest = |map: &Map<String, Value>| map.iter().filter(|(key, _)| *key != "metadata").count();
    let equal = |key: &String| key == "metadata" || a.get(key) == b.get(key);
    rest(a) == rest(b) && a.keys().all(equal) && same_meta(present.get("metadata"), object.get("metadata"))
}

fn same_meta(a: Option<&Value>, b: Option<&Value>) -> bool {
    let is_revision = |key: &String| key == "resourceVersion";
    let (Some(a), Some(b)) = (a.and_then(Value::as_object), b.and_then(Value::as_object)) else { return false };
    let count = |map: &Map<String, Value>| map.keys().filter(|k| !is_revision(k)).count();
    count(a) == count(b) && a.iter().all(|(key, value)| is_revision(key) || b.get(key) == Some(value))
}

/// The revision that a `resourceVersion` text names; `None` for none at all.
pub(crate) fn revision(text: &str) -> Result<Option<Revision>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map(|number| Some(Revision(number)));
    parsed.map_err(|_| {
        Error::new(
            Reason::BadRequest,
            format!("resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: invalid syntax"),
        )
    })
}

/// The options of our own writes.
pub(super) fn ours() -> WriteOptions {
    WriteOptions { field_validation: FieldValidation::Ignore, ..WriteOptions::default() }
}
