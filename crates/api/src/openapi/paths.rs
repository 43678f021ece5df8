//! Paths and operations of a resource: which verbs there are, by which parameters, on which kinds.

use serde_json::{Map, Value, json};

use super::schemas::{GVK, Schemas, gvk};
use crate::resource::{Resource, Subresource};

const PATCH_TYPES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const JSON: &[&str] = &["application/json"];

const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: &[(&str, &str)] = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LOG: &[(&str, &str)] = &[
    ("container", "string"),
    ("follow", "boolean"),
    ("limitBytes", "integer"),
    ("previous", "boolean"),
    ("sinceSeconds", "integer"),
    ("tailLines", "integer"),
    ("timestamps", "boolean"),
];
const ATTACH: &[(&str, &str)] =
    &[("container", "string"), ("stderr", "boolean"), ("stdin", "boolean"), ("stdout", "boolean"), ("tty", "boolean")];
const EXEC: &[(&str, &str)] = &[
    ("command", "string"),
    ("container", "string"),
    ("stderr", "boolean"),
    ("stdin", "boolean"),
    ("stdout", "boolean"),
    ("tty", "boolean"),
];
const PORT_FORWARD: &[(&str, &str)] = &[("ports", "integer")];

/// One operation, before it is written down.
struct Operation<'a> {
    method: &'static str,
    action: &'static str,
    /// The kind that it is about.
    gvk: &'a Value,
    parameters: &'static [(&'static str, &'static str)],
    /// The media types and the schema of the body.
    body: Option<(&'static [&'static str], Value)>,
    /// The schema of the answer; `None` for plain text.
    answer: Option<Value>,
}

impl Operation<'_> {
    fn to_value(&self, resource: &Resource, path: &str) -> Value {
        let parameters: Vec<Value> =
            self.parameters.iter().map(|(name, kind)| parameter(name, "query", kind)).collect();
        let answer = match &self.answer {
            Some(schema) => content(JSON, schema),
            None => content(&["text/plain"], &json!({"type": "string"})),
        };
        let mut operation = json!({
            "description": format!("{} {}", self.action, resource.kind),
            "operationId": operation_id(self.method, path),
            "tags": [resource.api_version().replace(['/', '.'], "_")],
            "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": answer}, "401": {"description": "Unauthorized"}},
            "x-kubernetes-action": self.action,
            GVK: self.gvk,
        });
        if let (Some((types, schema)), Value::Object(operation)) = (&self.body, &mut operation) {
            operation.insert("requestBody".to_owned(), json!({"content": content(types, schema)}));
        }
        operation
    }
}

fn parameter(name: &str, place: &str, kind: &str) -> Value {
    json!({"name": name, "in": place, "required": place == "path", "schema": {"type": kind}})
}

fn content(types: &[&str], schema: &Value) -> Map<String, Value> {
    types.iter().map(|kind| ((*kind).to_owned(), json!({"schema": schema}))).collect()
}

/// A name that no other operation has: the method and the words of the path.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| {
        let (head, tail) = word.split_at_checked(1).unwrap_or_default();
        id + &head.to_ascii_uppercase() + tail
    })
}

/// Adds the paths of a resource, and the schemas that they refer to.
pub(super) fn add(resource: &Resource, schemas: &mut Schemas, paths: &mut Map<String, Value>) {
    let root = format!("/{}", super::group_path(resource));
    let own = gvk(resource.group, resource.version, resource.kind);
    let kind = schemas.kind(&own);
    let list = schemas.list(resource);
    let collection = if resource.namespaced {
        let all = format!("{root}/{}", resource.plural);
        let read = Operation { parameters: LIST, ..answering("get", "list", &own, &list) };
        insert(paths, resource, &all, &[read]);
        format!("{root}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{root}/{}", resource.plural)
    };
    insert(paths, resource, &collection, &collection_operations(schemas, &own, &kind, &list));
    let item = format!("{collection}/{{name}}");
    let status = schemas.kind(&gvk("", "v1", "Status"));
    let mut operations = object_operations(schemas, &own, &kind);
    let delete =
        Operation { parameters: DELETE, body: delete_body(schemas), ..answering("delete", "delete", &own, &status) };
    operations.push(delete);
    insert(paths, resource, &item, &operations);
    for subresource in resource.subresources {
        add_subresource(*subresource, resource, schemas, paths, &item, &own);
    }
}

fn answering<'a>(method: &'static str, action: &'static str, gvk: &'a Value, answer: &Value) -> Operation<'a> {
    Operation { method, action, gvk, parameters: &[], body: None, answer: Some(answer.clone()) }
}

fn writing<'a>(method: &'static str, action: &'static str, gvk: &'a Value, kind: &Value) -> Operation<'a> {
    Operation { parameters: WRITE, body: Some((JSON, kind.clone())), ..answering(method, action, gvk, kind) }
}

fn delete_body(schemas: &mut Schemas) -> Option<(&'static [&'static str], Value)> {
    Some((JSON, schemas.kind(&gvk("", "v1", "DeleteOptions"))))
}

fn collection_operations<'a>(schemas: &mut Schemas, gvk: &'a Value, kind: &Value, list: &Value) -> Vec<Operation<'a>> {
    let status = schemas.kind(&super::schemas::gvk("", "v1", "Status"));
    vec![
        Operation { parameters: LIST, ..answering("get", "list", gvk, list) },
        writing("post", "post", gvk, kind),
        Operation {
            parameters: DELETE,
            body: delete_body(schemas),
            ..answering("delete", "deletecollection", gvk, &status)
        },
    ]
}

/// Get, put and patch.
fn object_operations<'a>(schemas: &mut Schemas, gvk: &'a Value, kind: &Value) -> Vec<Operation<'a>> {
    let patch = schemas.patch();
    vec![
        answering("get", "get", gvk, kind),
        writing("put", "put", gvk, kind),
        Operation { parameters: PATCH, body: Some((PATCH_TYPES, patch)), ..answering("patch", "patch", gvk, kind) },
    ]
}

fn add_subresource(
    subresource: Subresource,
    resource: &Resource,
    schemas: &mut Schemas,
    paths: &mut Map<String, Value>,
    item: &str,
    own: &Value,
) {
    let (name, about) = match subresource {
        Subresource::Status => ("status", own.clone()),
        Subresource::Finalize => ("finalize", own.clone()),
        Subresource::Approval => ("approval", own.clone()),
        Subresource::Log => ("log", own.clone()),
        Subresource::Exec => ("exec", gvk("", "v1", "PodExecOptions")),
        Subresource::Attach => ("attach", gvk("", "v1", "PodAttachOptions")),
        Subresource::PortForward => ("portforward", gvk("", "v1", "PodPortForwardOptions")),
        Subresource::Scale => ("scale", gvk("autoscaling", "v1", "Scale")),
        Subresource::Binding => ("binding", gvk("", "v1", "Binding")),
        Subresource::Eviction => ("eviction", gvk("policy", "v1", "Eviction")),
    };
    if let Some(parameters) = connected(subresource) {
        let connect =
            |method| Operation { method, action: "connect", gvk: &about, parameters, body: None, answer: None };
        return insert(paths, resource, &format!("{item}/{name}"), &[connect("get"), connect("post")]);
    }
    let kind = schemas.kind(&about);
    let operations = match subresource {
        Subresource::Status | Subresource::Scale | Subresource::Approval => object_operations(schemas, &about, &kind),
        Subresource::Finalize => vec![writing("put", "put", &about, &kind)],
        Subresource::Binding | Subresource::Eviction => vec![writing("post", "post", &about, &kind)],
        Subresource::Log => {
            vec![Operation { parameters: LOG, answer: None, ..answering("get", "connect", &about, &kind) }]
        }
        Subresource::Exec | Subresource::Attach | Subresource::PortForward => Vec::new(),
    };
    insert(paths, resource, &format!("{item}/{name}"), &operations);
}

/// The parameters of a subresource that is a connection.
const fn connected(subresource: Subresource) -> Option<&'static [(&'static str, &'static str)]> {
    match subresource {
        Subresource::Exec => Some(EXEC),
        Subresource::Attach => Some(ATTACH),
        Subresource::PortForward => Some(PORT_FORWARD),
        _ => None,
    }
}

fn insert(paths: &mut Map<String, Value>, resource: &Resource, path: &str, operations: &[Operation<'_>]) {
    let places = ["name", "namespace"].into_iter().filter(|name| path.contains(&format!("{{{name}}}")));
    let parameters: Vec<Value> = places.map(|name| parameter(name, "path", "string")).collect();
    let mut item = Map::new();
    for operation in operations {
        item.insert(operation.method.to_owned(), operation.to_value(resource, path));
    }
    item.insert("parameters".to_owned(), parameters.into());
    paths.insert(path.to_owned(), Value::Object(item));
}
