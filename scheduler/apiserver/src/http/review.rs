//! Reviews of the caller by the caller: `kubectl auth whoami` and `auth can-i`. Answered, never stored.

use axum::extract::Request;
use axum::response::Response;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use wherry_api::{Error, RESOURCES, Reason};

use super::BODY_BYTES_MAX;
use super::encode;
use crate::authorize::{Attributes, authorize};
use crate::identity::Identity;

/// The reviews that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Review {
    /// Who am I?
    Subject,
    /// May I?
    Access,
}

pub(super) fn named(path: &str) -> Option<Review> {
    match path {
        "/apis/authentication.k8s.io/v1/selfsubjectreviews" => Some(Review::Subject),
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => Some(Review::Access),
        _ => None,
    }
}

pub(super) async fn answer(review: Review, identity: &Identity, request: Request) -> Result<Response, Error> {
    if request.method() != Method::POST {
        return Err(Error::new(
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        ));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|e| Error::new(Reason::BadRequest, e.to_string()))?.to_bytes();
    let answer = match review {
        Review::Subject => json!({
            "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "status": {"userInfo": {"username": identity.user, "groups": identity.groups}},
        }),
        Review::Access => access(identity, &serde_json::from_slice(&body).unwrap_or_default()),
    };
    Ok(encode::json(StatusCode::CREATED, answer.to_string().into(), &[]))
}

fn access(identity: &Identity, review: &Value) -> Value {
    let text = |field: &str| {
        review.pointer(&format!("/spec/resourceAttributes/{field}")).and_then(Value::as_str).unwrap_or_default()
    };
    let asked = |r: &&wherry_api::Resource| r.group == text("group") && r.plural == text("resource");
    let allowed = match RESOURCES.iter().find(asked) {
        Some(resource) => {
            let namespace = Some(text("namespace")).filter(|n| !n.is_empty());
            let (verb, subresource, name) = (text("verb"), text("subresource"), text("name"));
            authorize(identity, &Attributes { verb, resource, subresource, namespace, name }).is_ok()
        }
        None => identity.groups.iter().any(|group| group == "system:masters"),
    };
    json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
        "spec": review.get("spec"), "status": {"allowed": allowed},
    })
}
