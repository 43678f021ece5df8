//! Answers: errors in the specification's form, and the few headers that all share.

use axum::Json;
use axum::body::Body;
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::{Digest, Error};

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// An answer without a body.
pub(super) fn empty(status: u16) -> Response {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// An answer of JSON.
pub(super) fn json(value: &Value) -> Response {
    let mut response = Json(value).into_response();
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// Sets a header whose value we made ourselves; what HTTP does not allow is left out.
pub(super) fn set(response: &mut Response, name: HeaderName, value: impl ToString) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        response.headers_mut().insert(name, value);
    }
}

/// 201, with where the content is.
pub(super) fn created(location: String, digest: &Digest) -> Response {
    let mut response = empty(201);
    set(&mut response, axum::http::header::LOCATION, location);
    set(&mut response, CONTENT_DIGEST, digest);
    response
}

/// The error as the specification has it.
pub(super) fn failed(error: &Error) -> Response {
    let (code, status) = error.code();
    if status == 500 {
        tracing::warn!(%error, "a registry request failed");
    }
    let body = json!({"errors": [{"code": code, "message": error.to_string()}]});
    let mut response = json(&body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Error::RangeInvalid { received } = error {
        set(&mut response, axum::http::header::RANGE, format!("0-{}", received.saturating_sub(1)));
    }
    response
}
