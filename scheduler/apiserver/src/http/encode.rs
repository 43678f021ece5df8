//! Answers: objects as they are, or as a `Table` or `PartialObjectMetadata` where the client prefers that.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use wherry_api::{Error, Reason, Resource, table};

use super::list::ListBody;
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
    /// The first form of the `Accept` header that is served; an error where none is.
    pub(super) fn of(headers: &HeaderMap, include: &str) -> Result<Self, Error> {
        let include = match include {
            "None" => Include::None,
            "Object" => Include::Object,
            "" | "Metadata" => Include::Metadata,
            other => {
                let supported = "supported values: \"\", \"Metadata\", \"None\", \"Object\"";
                let message = format!("includeObject: Unsupported value: \"{other}\": {supported}");
                return Err(Error::new(Reason::BadRequest, message));
            }
        };
        choices(headers).find_map(|choice| Self::of_choice(choice, include)).ok_or_else(not_acceptable)
    }

    fn of_choice(choice: &str, include: Include) -> Option<Self> {
        let mut parts = choice.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let version = match parts.clone().find_map(|part| part.strip_prefix("v=")) {
            Some("v1beta1") => "meta.k8s.io/v1beta1",
            _ => "meta.k8s.io/v1",
        };
        match (media_type, parts.find_map(|part| part.strip_prefix("as="))) {
            ("" | "*/*" | "application/*" | "application/json", None) => Some(Self::Whole),
            ("application/json", Some("Table")) => Some(Self::Table(version, include)),
            ("application/json", Some("PartialObjectMetadata" | "PartialObjectMetadataList")) => {
                Some(Self::Partial(version))
            }
            _ => None,
        }
    }
}

/// An error where a client does not take JSON.
pub(super) fn check_acceptable(headers: &HeaderMap) -> Result<(), Error> {
    let is_json = |choice: &str| {
        let media_type = choice.split(';').next().unwrap_or_default().trim();
        matches!(media_type, "" | "*/*" | "application/*" | "application/json")
    };
    if choices(headers).any(is_json) { Ok(()) } else { Err(not_acceptable()) }
}

/// What the client accepts, in its order; without a word, whatever there is.
pub(super) fn choices(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',')
}

fn not_acceptable() -> Error {
    Error::new(Reason::NotAcceptable, "only the following media types are accepted: application/json")
}

/// One object in the wanted form.
pub(super) fn object(registry: &Registry, resource: &Resource, json: &Bytes, form: Form) -> Bytes {
    match form {
        Form::Whole => json.clone(),
        Form::Partial(version) => bytes(&partial(&value(json), version)),
        Form::Table(version, include) => {
            let object = value(json);
            let meta = json!({"resourceVersion": object.pointer("/metadata/resourceVersion")});
            bytes(&table_of(registry, resource, std::iter::once(object), version, include, meta))
        }
    }
}

/// A bookmark in the wanted form.
pub(super) fn bookmark(json: &Bytes, form: Form) -> Bytes {
    match form {
        Form::Partial(version) => bytes(&partial(&value(json), version)),
        Form::Whole | Form::Table(..) => json.clone(),
    }
}

/// A collection in the wanted form.
pub(super) fn page(registry: &Registry, resource: &Resource, page: Page, form: Form) -> Response {
    let meta = page.metadata();
    // One by one: decoded, a collection takes many times its bytes.
    let objects = || page.entries.iter().map(|(_, entry)| value(&entry.json));
    let body = match form {
        Form::Whole => Body::new(ListBody::new(page, resource)),
        Form::Table(version, include) => bytes(&table_of(registry, resource, objects(), version, include, meta)).into(),
        Form::Partial(version) => {
            let items: Vec<Value> = objects().map(|object| partial(&object, version)).collect();
            let list =
                json!({"kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": meta, "items": items});
            bytes(&list).into()
        }
    };
    super::text(StatusCode::OK, "application/json", body)
}

fn table_of(
    registry: &Registry,
    resource: &Resource,
    objects: impl Iterator<Item = Value>,
    version: &str,
    include: Include,
    meta: Value,
) -> Value {
    let now = registry.clock().now();
    let columns: Vec<Value> = table::columns(resource).iter().map(column).collect();
    let row = |object: Value| {
        let cells = table::cells(resource, &object, now);
        let carried = match include {
            Include::None => Value::Null,
            Include::Metadata => partial(&object, version),
            Include::Object => object,
        };
        json!({"cells": cells, "object": carried})
    };
    let rows: Vec<Value> = objects.map(row).collect();
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
