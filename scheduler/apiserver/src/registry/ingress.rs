//! The default class of Ingresses: one that names none is of the default class from its creation, as Kubernetes'
//! admission has it. Lacks any opinion about classes that are named: they may come later.

use std::cmp::Reverse;

use serde_json::Value;
use wherry_api::Resource;
use wherry_api::kinds::{Ingress, IngressClass, Kind};

use super::Registry;
use super::object::{decode, meta};

const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// How classes were named before there were objects for them.
const CLASS: &str = "kubernetes.io/ingress.class";

/// Names the default class in a new Ingress that names none.
pub(super) fn name_class(registry: &Registry, resource: &'static Resource, object: &mut Value) {
    if resource.kind != Ingress::resource().kind || annotation(object, CLASS).is_some() {
        return;
    }
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("ingressClassName").is_some_and(|class| !class.is_null()) {
        return;
    }
    if let Some(class) = default_class(registry) {
        spec.insert("ingressClassName".into(), class.into());
    }
}

/// The newest of the classes that are marked as the default; of those of one second, the first by name.
fn default_class(registry: &Registry) -> Option<String> {
    let classes = registry.store().snapshot(IngressClass::resource());
    let classes = classes.objects.values().filter_map(|entry| decode(entry).ok());
    let marked = classes.filter(|class| annotation(class, DEFAULT_CLASS) == Some("true"));
    let named =
        marked.map(|class| (Reverse(meta(&class, "creationTimestamp").to_owned()), meta(&class, "name").to_owned()));
    named.min().map(|(_, name)| name)
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}
