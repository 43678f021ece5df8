//! `create`: names, uid and time are decided here; the row's `admit` does the rest.

use serde_json::{Value, json};
use wherry_api::kinds::{Kind, Namespace, RuntimeClass, ServiceAccount};
use wherry_api::resource::Write;
use wherry_api::{Error, ObjectKey, Reason, Resource};
use wherry_store::{Command, Conflict, Expect, ProposeError};

use super::object::{check_type, is_deleting, meta, refused, set_meta};
use super::{
    Registry, Target, WRITE_TRIES_MAX, WriteOptions, Written, addresses, encoded, ingress, pod_security, runtime_class,
    service_account, unwritten,
};
use crate::restriction;

/// How long a generated name may be: the suffix comes on top.
const GENERATED_PREFIX_CHARS_MAX: usize = 58;
const GENERATED_SUFFIX_CHARS: usize = 5;
/// The classes that every cluster has.
const PRIORITY_CLASSES: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

impl Registry {
    /// Creates an object in a namespace (`None` for the cluster).
    pub(crate) async fn create(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Written, Error> {
        check_type(resource, &mut object)?;
        if let Some(node) = &options.node {
            restriction::check_new(node, resource, &object)?;
        }
        self.check_namespace(resource, namespace, &mut object)?;
        self.stamp(&mut object)?;
        if !meta(&object, "name").is_empty() || meta(&object, "generateName").is_empty() {
            return self.create_once(resource, namespace, object, options).await;
        }
        for _ in 0..WRITE_TRIES_MAX {
            let name = self.generated_name(meta(&object, "generateName"));
            set_meta(&mut object, "name", Some(name.into()))?;
            match self.create_once(resource, namespace, object.clone(), options).await {
                Err(error) if error.reason == Reason::AlreadyExists => {}
                outcome => return outcome,
            }
        }
        Err(resource.already_exists(meta(&object, "generateName")))
    }

    async fn create_once(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Written, Error> {
        let name = meta(&object, "name").to_owned();
        runtime_class::add(self, resource, &mut object)?;
        service_account::add(self, resource, &mut object)?;
        self.inner.config.tolerations.add(resource, &mut object);
        let admitted = (resource.admit)(Write::Create, options.field_validation, None, object);
        let mut admitted = admitted.map_err(|e| refused(resource, &name, e))?;
        self.check_references(resource, &admitted.object)?;
        admitted.warnings.extend(pod_security::check(self, resource, &admitted.object)?);
        ingress::name_class(self, resource, &mut admitted.object);
        let _held = addresses::hold(self, resource, None).await;
        addresses::allocate(self, resource, &mut admitted.object, None)?;
        let key = ObjectKey::new(namespace.filter(|_| resource.namespaced).unwrap_or_default(), &name);
        let target = Target { resource, key };
        let json = self.put_new(&target, &admitted.object, options.dry_run).await?;
        Ok(Written { json, warnings: admitted.warnings })
    }

    async fn put_new(&self, target: &Target, object: &Value, dry_run: bool) -> Result<bytes::Bytes, Error> {
        let Target { resource, key } = target;
        if dry_run {
            let free = self.entry(target).is_none();
            let json = bytes::Bytes::from(object.to_string());
            return if free { Ok(json) } else { Err(resource.already_exists(&key.name)) };
        }
        let object = encoded(object)?;
        let command = Command::Put { resource, key: key.clone(), expect: Expect::Absent, object };
        match self.store().propose(command).await {
            Ok(applied) => Ok(applied.entry.json.clone()),
            Err(ProposeError::Conflict(Conflict::Exists(_) | Conflict::Missing)) => {
                Err(resource.already_exists(&key.name))
            }
            Err(other) => Err(unwritten(&other)),
        }
    }

    fn generated_name(&self, prefix: &str) -> String {
        let kept: String = prefix.chars().take(GENERATED_PREFIX_CHARS_MAX).collect();
        kept + &self.inner.rng.suffix(GENERATED_SUFFIX_CHARS)
    }

    fn stamp(&self, object: &mut Value) -> Result<(), Error> {
        set_meta(object, "uid", Some(uuid::Uuid::new_v4().to_string().into()))?;
        set_meta(object, "creationTimestamp", Some(self.now().into()))?;
        for ours in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"]
        {
            set_meta(object, ours, None)?;
        }
        Ok(())
    }

    /// The body's namespace must be the path's, and must exist.
    fn check_namespace(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        object: &mut Value,
    ) -> Result<(), Error> {
        if !resource.namespaced {
            return set_meta(object, "namespace", None);
        }
        let path = namespace
            .ok_or_else(|| Error::new(Reason::BadRequest, "an empty namespace may not be set during creation"))?;
        let own = meta(object, "namespace");
        if !own.is_empty() && own != path {
            let message = format!(
                "the namespace of the provided object does not match the namespace sent on the request ({own}, {path})"
            );
            return Err(Error::new(Reason::BadRequest, message));
        }
        set_meta(object, "namespace", Some(path.into()))?;
        self.check_namespace_is_open(resource, path, meta(object, "name"))
    }

    fn check_namespace_is_open(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<(), Error> {
        let target = Target::new(Namespace::resource(), None, namespace);
        let entry = self.entry(&target).ok_or_else(|| target.not_found())?;
        // A namespace that is being deleted says so in its phase, which is in the index: nothing is decoded here.
        if entry.field(Namespace::resource(), "status.phase") != "Terminating" {
            return Ok(());
        }
        let message = format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            resource.qualified()
        );
        Err(Error::new(Reason::Forbidden, message).about(resource.group, resource.plural, name))
    }

    /// What must exist for an object to make sense.
    fn check_references(&self, resource: &'static Resource, object: &Value) -> Result<(), Error> {
        if resource.kind != "Pod" {
            return Ok(());
        }
        let text = |field: &str| {
            let value = object.get("spec").and_then(|spec| spec.get(field));
            value.and_then(Value::as_str).filter(|text| !text.is_empty())
        };
        let (name, namespace) = (meta(object, "name"), meta(object, "namespace"));
        let refused = |why: String| {
            Err(Error::new(Reason::Forbidden, format!("pods \"{name}\" is forbidden: {why}")).about("", "pods", name))
        };
        let is_there = |row, namespace, name: &str| self.entry(&Target::new(row, namespace, name)).is_some();
        if let Some(class) = text("runtimeClassName").filter(|class| !is_there(RuntimeClass::resource(), None, class)) {
            return refused(format!("pod rejected: RuntimeClass \"{class}\" not found"));
        }
        if let Some(class) = text("priorityClassName").filter(|class| !PRIORITY_CLASSES.contains(class)) {
            return refused(format!("no PriorityClass with name {class} was found"));
        }
        // The default account comes with the namespace, some time after it.
        let account = text("serviceAccountName").filter(|account| *account != "default");
        match account.filter(|account| !is_there(ServiceAccount::resource(), Some(namespace), account)) {
            Some(account) => refused(format!(
                "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
            )),
            None => Ok(()),
        }
    }

    /// Binds a pod to a node: `binding`.
    pub(crate) async fn bind(&self, target: &Target, binding: &Value, dry_run: bool) -> Result<(), Error> {
        let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if node.is_empty() {
            return Err(Error::new(Reason::BadRequest, "target.name: Required value: the node to bind to"));
        }
        let kind = binding.pointer("/target/kind").and_then(Value::as_str).unwrap_or_default();
        if !matches!(kind, "" | "Node") {
            let message =
                format!("target.kind: Unsupported value: \"{kind}\": supported values: \"Node\", \"<empty>\"");
            return Err(Error::new(Reason::BadRequest, message));
        }
        let now = self.now();
        for _ in 0..WRITE_TRIES_MAX {
            let entry = self.entry(target).ok_or_else(|| target.not_found())?;
            // Our own change of an object that was admitted: spec and status in one write.
            let pod = bound(target, &super::object::decode(&entry)?, &node, &now)?;
            if dry_run || self.put_changed(target, &entry, &pod).await?.is_some() {
                return Ok(());
            }
        }
        Err(target.resource.conflict(&target.key.name, "it changes too quickly; try again"))
    }
}

/// The pod with its node.
fn bound(target: &Target, pod: &Value, node: &str, now: &str) -> Result<Value, Error> {
    let present = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    let name = &target.key.name;
    if !present.is_empty() {
        return Err(target.resource.conflict(name, &format!("pod {name} is already assigned to node \"{present}\"")));
    }
    if is_deleting(pod) {
        return Err(target
            .resource
            .conflict(name, &format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let mut pod = pod.clone();
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("nodeName".into(), node.into());
    }
    let condition = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now});
    if let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) {
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if let Some(conditions) = conditions.as_array_mut() {
            conditions.retain(|c| c.get("type").and_then(Value::as_str) != Some("PodScheduled"));
            conditions.push(condition);
        }
    }
    Ok(pod)
}
