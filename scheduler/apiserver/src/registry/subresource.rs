//! Subresources that are objects of their own form: `scale` and `finalize`.

use serde_json::{Value, json};
use wherry_api::resource::Subresource;
use wherry_api::selector::Labels;
use wherry_api::{Error, Reason};
use wherry_client::PatchKind;

use super::modify::ours;
use super::object::{decode, meta, set_meta};
use super::{Registry, Target, WriteOptions, Written};

/// A subresource as a path names it.
pub(crate) fn named(target: &Target, name: &str) -> Result<Option<Subresource>, Error> {
    let found = match name {
        "" => return Ok(None),
        "status" => Subresource::Status,
        "scale" => Subresource::Scale,
        "log" => Subresource::Log,
        "exec" => Subresource::Exec,
        "attach" => Subresource::Attach,
        "portforward" => Subresource::PortForward,
        "binding" => Subresource::Binding,
        "eviction" => Subresource::Eviction,
        "finalize" => Subresource::Finalize,
        "approval" => Subresource::Approval,
        _ => return Err(unknown()),
    };
    if target.resource.subresources.contains(&found) { Ok(Some(found)) } else { Err(unknown()) }
}

fn unknown() -> Error {
    Error::new(Reason::NotFound, "the server could not find the requested resource")
}

impl Registry {
    /// The `scale` of an object (autoscaling/v1).
    pub(crate) fn scale(&self, target: &Target) -> Result<Value, Error> {
        let entry = self.entry(target).ok_or_else(|| target.not_found())?;
        scale_of(&decode(&entry)?)
    }

    /// Replaces or patches the `scale` of an object.
    pub(crate) async fn set_scale(
        &self,
        target: &Target,
        change: Option<PatchKind>,
        body: &Value,
        options: &WriteOptions,
    ) -> Result<Value, Error> {
        let written = self.modify(target, "", options, |present| {
            let mut scale = scale_of(present)?;
            match change {
                None => scale = body.clone(),
                Some(PatchKind::Json) => super::patch::json(&mut scale, body)?,
                Some(PatchKind::Merge | PatchKind::Strategic) => json_patch::merge(&mut scale, body),
            }
            scaled(present, &scale)
        });
        scale_of(&parse(&written.await?)?)
    }

    /// Sets a namespace's `spec.finalizers`; where they are gone, so is the namespace.
    pub(crate) async fn finalize(&self, target: &Target, body: &Value, dry_run: bool) -> Result<Written, Error> {
        let finalizers = body.pointer("/spec/finalizers").cloned().unwrap_or_else(|| json!([]));
        let version = Some(meta(body, "resourceVersion")).filter(|version| !version.is_empty());
        self.modify(target, "", &WriteOptions { dry_run, ..ours() }, |present| {
            let mut namespace = present.clone();
            set_meta(&mut namespace, "resourceVersion", version.map(Value::from))?;
            if let Some(map) = namespace.as_object_mut() {
                map.insert("spec".into(), json!({"finalizers": finalizers}));
            }
            Ok(namespace)
        })
        .await
    }
}

fn parse(written: &Written) -> Result<Value, Error> {
    serde_json::from_slice(&written.json).map_err(|e| Error::new(Reason::InternalError, e.to_string()))
}

fn bad(error: &dyn std::fmt::Display) -> Error {
    Error::new(Reason::BadRequest, error.to_string())
}

fn scale_of(object: &Value) -> Result<Value, Error> {
    let number = |pointer| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let selector = object.pointer("/spec/selector").cloned().unwrap_or_default();
    let selector = serde_json::from_value(selector).map_err(|e| bad(&e))?;
    let selector = Labels::from_selector(&selector).map_err(|e| bad(&e))?.to_string();
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(map) = metadata.as_object_mut() {
            map.insert(field.to_owned(), meta(object, field).into());
        }
    }
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number("/spec/replicas")},
        "status": {"replicas": number("/status/replicas"), "selector": selector},
    }))
}

/// The object with the replicas, and the expectations about its version, of a scale.
fn scaled(present: &Value, scale: &Value) -> Result<Value, Error> {
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(replicas) => {
            replicas.as_i64().ok_or_else(|| bad(&"spec.replicas: Invalid value: must be a whole number"))?
        }
    };
    let mut object = present.clone();
    let version = meta(scale, "resourceVersion");
    set_meta(&mut object, "resourceVersion", Some(version.into()).filter(|_| !version.is_empty()))?;
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".into(), replicas.into());
    }
    Ok(object)
}
