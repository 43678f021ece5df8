//! Discovery and OpenAPI documents, all made from the table of resources.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use wherry_api::resource::Subresource;
use wherry_api::{Error, RESOURCES, Resource, openapi};

use super::verbs::not_allowed;
use super::{Context, encode, metrics, text};

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Namespaces go one by one.
const NAMESPACE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Reviews are answered, never stored, so they are no rows of the table: group, kind, plural.
const REVIEWS: [(&str, &str, &str); 2] = [
    ("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews"),
    ("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
];

/// What is used is measured, never stored: plural, kind, whether it is in namespaces.
const METRICS: [(&str, &str, bool); 2] = [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];

/// The document at a path of discovery; `None` where the path is none.
pub(super) fn answer(
    context: &Context,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Result<Response, Error>> {
    let (content_type, body) = document(context, path, headers)?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Some(Err(not_allowed()));
    }
    let acceptable = if content_type == openapi::V2_BINARY { Ok(()) } else { encode::check_acceptable(headers) };
    Some(acceptable.map(|()| tagged(headers, content_type, body)))
}

/// The media type and the body.
fn document(context: &Context, path: &str, headers: &HeaderMap) -> Option<(&'static str, Vec<u8>)> {
    let aggregated = encode::choices(headers).any(|choice| {
        let has = |parameter: &str| choice.split(';').any(|part| part.trim() == parameter);
        has("as=APIGroupDiscoveryList") && has("v=v2")
    });
    let binary = || {
        encode::choices(headers).any(|choice| [openapi::V2_BINARY, openapi::V2_BINARY_ASKED].contains(&choice.trim()))
    };
    let json = |content_type, document: &Value| (content_type, document.to_string().into_bytes());
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let document = match parts.as_slice() {
        ["api"] if aggregated => return Some(json(AGGREGATED, &groups(|group| group.is_empty()))),
        ["apis"] if aggregated => return Some(json(AGGREGATED, &groups(|group| !group.is_empty()))),
        ["api"] => core_versions(&context.advertise_url),
        ["apis"] => {
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": named_groups().iter().map(|g| group(g)).collect::<Vec<_>>()})
        }
        ["api", "v1"] => resource_list("", "v1"),
        ["apis", name] if named_groups().contains(name) => group(name),
        ["apis", name, version] if is_served(name, version) => resource_list(name, version),
        ["openapi", "v3"] => openapi::v3_index(),
        ["openapi", "v3", rest @ ..] => openapi::v3(&rest.join("/"))?,
        ["openapi", "v2"] if binary() => return Some((openapi::V2_BINARY, openapi::v2_binary())),
        ["openapi", "v2"] => openapi::v2(),
        // There are none, and kubectl asks before it says of a kind that nobody knows it.
        ["apis", "apiextensions.k8s.io", "v1", "customresourcedefinitions"] => {
            json!({"kind": "CustomResourceDefinitionList", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {}, "items": []})
        }
        _ => return None,
    };
    Some(json("application/json", &document))
}

fn tagged(headers: &HeaderMap, content_type: &'static str, body: Vec<u8>) -> Response {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016X}\"", hasher.finish());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        text(StatusCode::NOT_MODIFIED, content_type, Vec::new())
    } else {
        text(StatusCode::OK, content_type, body)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// The verbs of a resource.
pub(super) fn verbs(resource: &Resource) -> &'static [&'static str] {
    if resource.kind == "Namespace" { NAMESPACE_VERBS } else { VERBS }
}

/// The verbs of a subresource.
pub(super) const fn verbs_of(subresource: Subresource, resource: &Resource) -> &'static [&'static str] {
    form(subresource, resource).verbs
}

fn is_served(group: &str, version: &str) -> bool {
    version == version_of(group) && named_groups().contains(&group)
}

/// A group has one version.
fn version_of(group: &str) -> &'static str {
    if group == metrics::GROUP { metrics::VERSION } else { "v1" }
}

/// All groups but the core, in order, each once.
fn named_groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = RESOURCES.iter().map(|r| r.group).filter(|group| !group.is_empty()).collect();
    groups.extend(REVIEWS.iter().map(|(group, ..)| *group));
    groups.push(metrics::GROUP);
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn core_versions(url: &str) -> Value {
    let address = url.trim_start_matches("https://");
    let addresses = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]);
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses})
}

fn group(name: &str) -> Value {
    let version = version_of(name);
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version], "preferredVersion": version})
}

fn resource_list(group: &str, version: &str) -> Value {
    let own = RESOURCES.iter().filter(|r| r.group == group && r.version == version);
    let mut resources: Vec<Value> =
        own.flat_map(|r| std::iter::once(listed(r)).chain(listed_subresources(r))).collect();
    let reviews = REVIEWS.iter().filter(|(own, ..)| *own == group);
    resources.extend(reviews.map(|(_, kind, plural)| {
        json!({"name": plural, "singularName": "", "namespaced": false, "kind": kind, "verbs": ["create"]})
    }));
    if group == metrics::GROUP {
        resources.extend(METRICS.map(|(plural, kind, namespaced)| {
            json!({"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]})
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
}

fn listed(resource: &Resource) -> Value {
    let mut listed = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": verbs(resource),
    });
    if let Some(map) = listed.as_object_mut() {
        if !resource.short_names.is_empty() {
            map.insert("shortNames".into(), json!(resource.short_names));
        }
        if !resource.categories.is_empty() {
            map.insert("categories".into(), json!(resource.categories));
        }
    }
    listed
}

fn listed_subresources(resource: &Resource) -> impl Iterator<Item = Value> {
    resource.subresources.iter().map(|subresource| {
        let Form { name, group, version, kind, verbs } = form(*subresource, resource);
        let mut listed = json!({
            "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
            "kind": kind, "verbs": verbs,
        });
        if let Some(map) = listed.as_object_mut().filter(|_| group != resource.group) {
            map.insert("group".into(), group.into());
            map.insert("version".into(), version.into());
        }
        listed
    })
}

/// How a subresource appears in discovery.
struct Form {
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
}

const fn form(subresource: Subresource, resource: &Resource) -> Form {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    match subresource {
        Subresource::Status => own_form(resource, "status", CHANGE),
        Subresource::Log => own_form(resource, "log", &["get"]),
        Subresource::Exec => connected("exec", "PodExecOptions"),
        Subresource::Attach => connected("attach", "PodAttachOptions"),
        Subresource::PortForward => connected("portforward", "PodPortForwardOptions"),
        Subresource::Finalize => own_form(resource, "finalize", &["update"]),
        Subresource::Approval => own_form(resource, "approval", CHANGE),
        Subresource::Scale => Form { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: CHANGE },
        Subresource::Binding => Form { name: "binding", group: "", version: "v1", kind: "Binding", verbs: &["create"] },
        Subresource::Eviction => {
            Form { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: &["create"] }
        }
    }
}

const fn connected(name: &'static str, kind: &'static str) -> Form {
    Form { name, group: "", version: "v1", kind, verbs: &["create", "get"] }
}

const fn own_form(resource: &Resource, name: &'static str, verbs: &'static [&'static str]) -> Form {
    Form { name, group: resource.group, version: resource.version, kind: resource.kind, verbs }
}

/// The aggregated document (`apidiscovery.k8s.io/v2`) of the chosen groups.
fn groups(chosen: impl Fn(&str) -> bool) -> Value {
    let all = std::iter::once("").chain(named_groups());
    let items: Vec<Value> = all.filter(|group| chosen(group)).map(aggregated_group).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_group(group: &str) -> Value {
    let own = RESOURCES.iter().filter(|r| r.group == group);
    let mut resources: Vec<Value> = own.map(aggregated).collect();
    let reviews = REVIEWS.iter().filter(|(own, ..)| *own == group);
    resources.extend(reviews.map(|(_, kind, plural)| {
        let response_kind = json!({"group": group, "version": "v1", "kind": kind});
        json!({"resource": plural, "responseKind": response_kind, "scope": "Cluster", "singularResource": "", "verbs": ["create"]})
    }));
    if group == metrics::GROUP {
        resources.extend(METRICS.map(|(plural, kind, namespaced)| {
            let response_kind = json!({"group": group, "version": metrics::VERSION, "kind": kind});
            let scope = if namespaced { "Namespaced" } else { "Cluster" };
            json!({"resource": plural, "responseKind": response_kind, "scope": scope, "singularResource": "", "verbs": ["get", "list"]})
        }));
    }
    let version = json!({"version": version_of(group), "resources": resources, "freshness": "Current"});
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": [version]})
}

fn aggregated(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|subresource| {
            let Form { name, group, version, kind: own, verbs } = form(*subresource, resource);
            json!({"subresource": name, "responseKind": kind(group, version, own), "verbs": verbs})
        })
        .collect();
    json!({
        "resource": resource.plural,
        "responseKind": kind(resource.group, resource.version, resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "shortNames": resource.short_names,
        "categories": resource.categories,
        "verbs": verbs(resource),
        "subresources": subresources,
    })
}
