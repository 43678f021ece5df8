//! Component schemas: what the types say, in the form that Kubernetes publishes, with the merge facts.

use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, Status};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::kinds;
use crate::merge::facts::{self, Fact};
use crate::resource::Resource;

/// What a component is referred to by.
pub(super) const REF_PREFIX: &str = "#/components/schemas/";

/// Types that are always written whole.
const ATOMIC_TYPES: &[&str] = &[
    "ConfigMapKeySelector",
    "LabelSelector",
    "LocalObjectReference",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ObjectReference",
    "OwnerReference",
    "ResourceFieldSelector",
    "SecretKeySelector",
    "SecretReference",
    "TypedLocalObjectReference",
];

/// The schemas of a document, collected as its paths refer to them.
pub(super) struct Schemas {
    generator: SchemaGenerator,
    /// The names of the schemas of kinds, with group, version and kind.
    kinds: Vec<(String, Value)>,
    /// Schemas for which there is no type.
    lists: Map<String, Value>,
}

impl Schemas {
    pub(super) fn new() -> Self {
        Self { generator: SchemaSettings::openapi3().into_generator(), kinds: Vec::new(), lists: Map::new() }
    }

    /// A reference to the schema of a kind.
    pub(super) fn kind(&mut self, gvk: &Value) -> Value {
        let kind = gvk.get("kind").and_then(Value::as_str).unwrap_or_default();
        let reference = reference(kind, &mut self.generator);
        self.name_kind(&reference, gvk);
        reference
    }

    /// A reference to the schema of a resource's list.
    pub(super) fn list(&mut self, resource: &Resource) -> Value {
        let item = reference(resource.kind, &mut self.generator);
        let list = json!({REF: format!("{}List", item.get(REF).and_then(Value::as_str).unwrap_or_default())});
        let meta = self.generator.subschema_for::<ListMeta>().to_value();
        let text = |description: &str| json!({"description": description, "type": "string"});
        let schema = json!({
            "description": format!("{}List is a list of {}.", resource.kind, resource.kind),
            "type": "object",
            "properties": {
                "apiVersion": text("The version of the objects."),
                "kind": text("The kind of the list."),
                "metadata": meta,
                "items": {"description": "The objects.", "type": "array", "items": item},
            },
            "required": ["items"],
        });
        self.name_kind(&list, &gvk(resource.group, resource.version, &format!("{}List", resource.kind)));
        self.lists.insert(name_of(&list), schema);
        list
    }

    /// A reference to the schema of patches, which is any object.
    pub(super) fn patch(&mut self) -> Value {
        self.lists.insert(
            PATCH.to_owned(),
            json!({"description": "A patch, in the form that its media type names.", "type": "object"}),
        );
        json!({REF: format!("{REF_PREFIX}{PATCH}")})
    }

    fn name_kind(&mut self, reference: &Value, gvk: &Value) {
        let name = name_of(reference);
        if !self.kinds.iter().any(|(known, _)| *known == name) {
            self.kinds.push((name, gvk.clone()));
        }
    }

    /// All schemas, by name.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        let mut all = self.generator.take_definitions(false);
        all.append(&mut self.lists);
        for (name, schema) in &mut all {
            finish(name.rsplit('.').next().unwrap_or_default(), schema);
        }
        for (name, gvk) in &self.kinds {
            if let Some(Value::Object(schema)) = all.get_mut(name) {
                schema.insert(GVK.to_owned(), json!([gvk]));
            }
        }
        all
    }
}

/// The extension that names kinds.
pub(super) const GVK: &str = "x-kubernetes-group-version-kind";
const REF: &str = "$ref";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The value of [`GVK`] for one kind.
pub(super) fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn name_of(reference: &Value) -> String {
    let reference = reference.get(REF).and_then(Value::as_str).unwrap_or_default();
    reference.trim_start_matches(REF_PREFIX).to_owned()
}

fn reference(kind: &str, generator: &mut SchemaGenerator) -> Value {
    fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
        generator.subschema_for::<T>().to_value()
    }
    match kind {
        "Namespace" => of::<kinds::Namespace>(generator),
        "Node" => of::<kinds::Node>(generator),
        "Pod" => of::<kinds::Pod>(generator),
        "Service" => of::<kinds::Service>(generator),
        "Endpoints" => of::<kinds::Endpoints>(generator),
        "EndpointSlice" => of::<kinds::EndpointSlice>(generator),
        "ConfigMap" => of::<kinds::ConfigMap>(generator),
        "Secret" => of::<kinds::Secret>(generator),
        "ServiceAccount" => of::<kinds::ServiceAccount>(generator),
        "Event" => of::<kinds::Event>(generator),
        "Lease" => of::<kinds::Lease>(generator),
        "Deployment" => of::<kinds::Deployment>(generator),
        "ReplicaSet" => of::<kinds::ReplicaSet>(generator),
        "Ingress" => of::<kinds::Ingress>(generator),
        "IngressClass" => of::<kinds::IngressClass>(generator),
        "RuntimeClass" => of::<kinds::RuntimeClass>(generator),
        "CertificateSigningRequest" => of::<kinds::CertificateSigningRequest>(generator),
        "PodDisruptionBudget" => of::<kinds::PodDisruptionBudget>(generator),
        "Scale" => of::<Scale>(generator),
        "Binding" => of::<Binding>(generator),
        "Eviction" => of::<Eviction>(generator),
        "DeleteOptions" => of::<DeleteOptions>(generator),
        _ => of::<Status>(generator),
    }
}

/// Brings the schema of a type into the published form.
fn finish(type_name: &str, schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    if let Some(alternatives) = alternatives(type_name) {
        object.remove("x-kubernetes-int-or-string");
        object.extend(alternatives);
    }
    if ATOMIC_TYPES.contains(&type_name) {
        object.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    if object.get("properties").and_then(|p| p.get("apiVersion")).is_some() {
        loosen(object);
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (field, property) in properties.iter_mut() {
            if let (Some(fact), Value::Object(property)) = (facts::find(type_name, field), property) {
                property.extend(extensions(fact));
            }
        }
    }
    wrap_references(schema);
}

fn alternatives(type_name: &str) -> Option<Map<String, Value>> {
    let (format, other) = match type_name {
        "IntOrString" => (Some("int-or-string"), "integer"),
        "Quantity" => (None, "number"),
        _ => return None,
    };
    let mut found = Map::new();
    found.insert("oneOf".to_owned(), json!([{"type": other}, {"type": "string"}]));
    found.extend(format.map(|format| ("format".to_owned(), format.into())));
    Some(found)
}

/// The Rust types need metadata; manifests may leave it out.
fn loosen(kind: &mut Map<String, Value>) {
    if let Some(Value::Array(required)) = kind.get_mut("required") {
        required.retain(|field| field != "metadata");
        if required.is_empty() {
            kind.remove("required");
        }
    }
}

fn extensions(fact: &Fact) -> impl Iterator<Item = (String, Value)> {
    let text = |name: &str, text: &str| (!text.is_empty()).then(|| (name.to_owned(), Value::from(text)));
    let keys = (!fact.map_keys.is_empty()).then(|| ("x-kubernetes-list-map-keys".to_owned(), json!(fact.map_keys)));
    let all = [
        text("x-kubernetes-patch-strategy", fact.patch_strategy),
        text("x-kubernetes-patch-merge-key", fact.patch_merge_key),
        text("x-kubernetes-list-type", fact.list_type),
        keys,
    ];
    all.into_iter().flatten()
}

/// A reference may have no siblings: one that has (a description) moves into `allOf`.
fn wrap_references(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(wrap_references);
            if object.len() > 1
                && let Some(reference @ Value::String(_)) = object.get(REF).cloned()
            {
                object.remove(REF);
                object.insert("allOf".to_owned(), json!([{REF: reference}]));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(wrap_references),
        _ => {}
    }
}
