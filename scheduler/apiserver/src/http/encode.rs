//! Answers: objects as they are, or as a `Table` or `PartialObjectMetadata` where the client prefers that.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use wherry_api::{Error, Resource, table};

use crate::registry::{Page, Registry};

/// The form in which a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Whole,
    /// `meta.k8s.io` Table, of this version.
    Table(&'static str, Include),
    /// Only `metadata`, of this version.
    Partial(&'static str),
}

/// What each row of a table carries beside its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    /// Nothing.
    None,
    /// `metadata`: the default.
    Metadata,
    /// The whole object.
    Object,
}

impl Form {
    /// The first form of the `Accept` header that is known; clients list JSON last, so there is always one.
    pub(super) fn of(headers: &HeaderMap, include: &str) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let include = match include {
            "None" => Include::None,
            "Object" => Include::Object,
            _ => Include::Metadata,
        };
        let known = accept.split(',').filter(|choice| choice.trim_start().starts_with("application/json"));
        known.map(|choice| Self::of_choice(choice, include)).next().unwrap_or(Self::Whole)
    }

    fn of_choice(choice: &str, include: Include) -> Self {
        let has = |parameter: &str| choice.split(';').any(|part| part.trim() == parameter);
        let version = if has("v=v1beta1") { "meta.k8s.io/v1beta1" } else { "meta.k8s.io/v1" };
        if has("as=Table") {
            Self::Table(version, include)
        } else if has("as=PartialObjectMetadata") || has("as=PartialObjectMetadataList") {
            Self::Partial(version)
        } else {
            Self::Whole
        }
    }
}

/// One object in the wanted form.
pub(super) fn object(registry: &Registry, resource: &Resource, json: &Bytes, form: Form) -> Bytes {
    match form {
        Form::Whole => json.clone(),
        Form::Partial(version) => bytes(&partial(&value(json), version)),
        Form::Table(version, include) => {
            let object = value(json);
            let meta = json!({"resourceVersion": object.pointer("/metadata/resourceVersion")});
            bytes(&table_of(registry, resource, &[object], version, include, meta))
        }
    }
}

/// A collection in the wanted form.
pub(super) fn page(registry: &Registry, resource: &Resource, page: &Page, form: Form) -> Bytes {
    let objects = || page.entries.iter().map(|(_, entry)| value(&entry.json)).collect::<Vec<_>>();
    let mut meta = json!({"resourceVersion": page.revision.to_string()});
    if let Some(map) = meta.as_object_mut().filter(|_| !page.continue_token.is_empty()) {
        map.insert("continue".into(), page.continue_token.clone().into());
        if let Some(remaining) = page.remaining {
            map.insert("remainingItemCount".into(), remaining.into());
        }
    }
    match form {
        Form::Whole => page.encode(resource),
        Form::Table(version, include) => bytes(&table_of(registry, resource, &objects(), version, include, meta)),
        Form::Partial(version) => {
            let items: Vec<Value> = objects().iter().map(|object| partial(object, version)).collect();
            bytes(
                &json!({"kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": meta, "items": items}),
            )
        }
    }
}

fn table_of(
    registry: &Registry,
    resource: &Resource,
    objects: &[Value],
    version: &str,
    include: Include,
    meta: Value,
) -> Value {
    let now = registry.clock().now();
    let columns: Vec<Value> = table::columns(resource).iter().map(column).collect();
    let row = |object: &Value| {
        let carried = match include {
            Include::None => Value::Null,
            Include::Metadata => partial(object, version),
            Include::Object => object.clone(),
        };
        json!({"cells": table::cells(resource, object, now), "object": carried})
    };
    let rows: Vec<Value> = objects.iter().map(row).collect();
    json!({"kind": "Table", "apiVersion": version, "metadata": meta, "columnDefinitions": columns, "rows": rows})
}

fn column(column: &table::Column) -> Value {
    json!({
        "name": column.name, "type": column.kind, "format": column.format,
        "description": column.description, "priority": column.priority,
    })
}

fn partial(object: &Value, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": object.get("metadata")})
}

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_default()
}

fn bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// A JSON answer, with warnings as RFC 7234 headers.
pub(super) fn json(status: StatusCode, body: Bytes, warnings: &[String]) -> Response {
    let mut response = super::text(status, "application/json", Body::from(body));
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// An error as a `Status` object.
pub(super) fn error(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.reason.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&error.to_status()).unwrap_or_default();
    let mut response = json(status, body.into(), &[]);
    if let Some(seconds) = error.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
