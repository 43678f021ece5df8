//! Paths, queries and bodies of requests, as the Kubernetes API reference has them.

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};
use wherry_api::{Error, Resource};

use crate::transport::{DeleteOptions, ListOptions, PatchKind, Precondition, Propagation, Request, Verb, WatchOptions};

/// A request as HTTP has it.
#[derive(Clone, Debug)]
pub struct Route {
    /// The verb.
    pub method: Method,
    /// The resource, and what is wanted of it.
    pub path_and_query: String,
    /// Empty where there is no body.
    pub content_type: &'static str,
    /// The object, patch or options.
    pub body: Bytes,
}

const JSON: &str = "application/json";

/// The route of a request; a strict one is refused where the server does not know a field of its body.
pub fn of(request: Request, strict: bool) -> Result<Route, Error> {
    let path = path(request.resource, request.namespace.as_deref(), &request.name, request.subresource);
    let route = |method, query: Vec<(&str, String)>, content_type, body| {
        Ok(Route { method, path_and_query: with_query(&path, &query), content_type, body })
    };
    let validation = vec![("fieldValidation", if strict { "Strict".to_owned() } else { String::new() })];
    match request.verb {
        Verb::Get => route(Method::GET, Vec::new(), "", Bytes::new()),
        Verb::List(options) => route(Method::GET, list_query(&options), "", Bytes::new()),
        Verb::Create(body) => route(Method::POST, validation, JSON, body),
        Verb::Update(body) => route(Method::PUT, validation, JSON, body),
        Verb::Patch(kind, body) => route(Method::PATCH, validation, patch_type(kind), body),
        Verb::Delete(options) => route(Method::DELETE, Vec::new(), JSON, delete_body(&options)),
        Verb::DeleteCollection(which, options) => {
            route(Method::DELETE, list_query(&which), JSON, delete_body(&options))
        }
    }
}

/// The path and query of a watch.
pub fn watch(resource: &Resource, namespace: Option<&str>, options: &WatchOptions) -> String {
    let query = [
        ("watch", "true".to_owned()),
        ("labelSelector", options.labels.clone()),
        ("fieldSelector", options.fields.clone()),
        ("resourceVersion", options.resource_version.clone()),
        ("allowWatchBookmarks", if options.bookmarks { "true".to_owned() } else { String::new() }),
    ];
    with_query(&path(resource, namespace, "", ""), &query)
}

fn path(resource: &Resource, namespace: Option<&str>, name: &str, subresource: &str) -> String {
    let root = if resource.group.is_empty() { "/api/v1".into() } else { format!("/apis/{}", resource.api_version()) };
    let scope = namespace.map(|namespace| format!("/namespaces/{}", escape(namespace))).unwrap_or_default();
    let mut path = format!("{root}{scope}/{}", resource.plural);
    for part in [name, subresource].into_iter().filter(|part| !part.is_empty()) {
        path.push('/');
        path.push_str(&escape(part));
    }
    path
}

fn list_query(options: &ListOptions) -> Vec<(&'static str, String)> {
    let limit = if options.limit == 0 { String::new() } else { options.limit.to_string() };
    let (version, how) = match options.exactly {
        Some(revision) => (revision.to_string(), "Exact".to_owned()),
        None => Default::default(),
    };
    vec![
        ("labelSelector", options.labels.clone()),
        ("fieldSelector", options.fields.clone()),
        ("limit", limit),
        ("continue", options.continue_token.clone()),
        ("resourceVersion", version),
        ("resourceVersionMatch", how),
    ]
}

/// Parameters without a value are left out.
fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let pairs = query.iter().filter(|(_, value)| !value.is_empty());
    let text = pairs.map(|(key, value)| format!("{key}={}", escape(value))).collect::<Vec<_>>().join("&");
    if text.is_empty() { path.to_owned() } else { format!("{path}?{text}") }
}

const fn patch_type(kind: PatchKind) -> &'static str {
    match kind {
        PatchKind::Json => "application/json-patch+json",
        PatchKind::Merge => "application/merge-patch+json",
        PatchKind::Strategic => "application/strategic-merge-patch+json",
    }
}

fn delete_body(options: &DeleteOptions) -> Bytes {
    let policy = match options.propagation {
        Propagation::Background => "Background",
        Propagation::Foreground => "Foreground",
        Propagation::Orphan => "Orphan",
    };
    let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
    if let Some(map) = body.as_object_mut() {
        if let Some(seconds) = options.grace_period_seconds {
            map.insert("gracePeriodSeconds".into(), seconds.into());
        }
        if let Some(preconditions) = preconditions(&options.precondition) {
            map.insert("preconditions".into(), preconditions);
        }
    }
    Bytes::from(body.to_string())
}

fn preconditions(precondition: &Precondition) -> Option<Value> {
    let fields = [("uid", &precondition.uid), ("resourceVersion", &precondition.resource_version)];
    let set = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let map: Map<String, Value> = set.map(|(key, value)| (key.to_owned(), value.clone().into())).collect();
    (!map.is_empty()).then_some(Value::Object(map))
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use wherry_api::Kind;
    use wherry_api::kinds::{Deployment, Pod};

    use super::*;

    #[test]
    fn routes_are_kubernetes_own() {
        let request = |verb| Request {
            resource: Deployment::resource(),
            namespace: Some("a".into()),
            name: "web".into(),
            subresource: "status",
            verb,
        };
        let route = of(request(Verb::Patch(PatchKind::Merge, Bytes::new())), false).unwrap();
        assert_eq!(route.path_and_query, "/apis/apps/v1/namespaces/a/deployments/web/status");
        assert_eq!(route.content_type, "application/merge-patch+json");
        let route = of(request(Verb::Update(Bytes::new())), true).unwrap();
        assert!(route.path_and_query.ends_with("/web/status?fieldValidation=Strict"), "{}", route.path_and_query);
        let options = WatchOptions { labels: "a in (b,c)".into(), ..WatchOptions::default() };
        assert_eq!(
            watch(Pod::resource(), None, &options),
            "/api/v1/pods?watch=true&labelSelector=a%20in%20%28b%2Cc%29"
        );
    }

    #[test]
    fn a_deletion_says_what_must_hold() {
        let precondition = Precondition { uid: "u".into(), resource_version: String::new() };
        let options = DeleteOptions { grace_period_seconds: Some(0), precondition, ..DeleteOptions::default() };
        let body: Value = serde_json::from_slice(&delete_body(&options)).unwrap();
        assert_eq!(body.pointer("/gracePeriodSeconds"), Some(&json!(0)));
        assert_eq!(body.pointer("/preconditions"), Some(&json!({"uid": "u"})));
    }
}
