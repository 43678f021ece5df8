//! Reviews of the caller by the caller: `kubectl auth whoami` and `auth can-i`. Answered, never stored.

use axum::extract::Request;
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use wherry_api::well_known::ADMINISTRATORS;
use wherry_api::{Error, RESOURCES};

use super::{Context, body, encode, verbs};
use crate::authorize::Attributes;
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

pub(super) async fn answer(
    context: &Context,
    review: Review,
    identity: &Identity,
    request: Request,
) -> Result<Response, Error> {
    let (parts, sent) = request.into_parts();
    if parts.method != Method::POST {
        return Err(verbs::not_allowed());
    }
    let whole = body::read(context, sent).await?;
    let asked = body::object(body::content_type(&parts.headers), &whole.bytes)?.value;
    let answer = match review {
        Review::Subject => json!({
            "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "status": {"userInfo": {"username": identity.user, "groups": identity.groups}},
        }),
        Review::Access => access(context, identity, &asked),
    };
    Ok(encode::json(StatusCode::CREATED, answer.to_string().into(), &[]))
}

fn access(context: &Context, identity: &Identity, review: &Value) -> Value {
    let text = |field: &str| {
        review.pointer(&format!("/spec/resourceAttributes/{field}")).and_then(Value::as_str).unwrap_or_default()
    };
    let asked = |r: &&wherry_api::Resource| r.group == text("group") && r.plural == text("resource");
    let allowed = match RESOURCES.iter().find(asked) {
        Some(resource) => {
            let namespace = Some(text("namespace")).filter(|n| !n.is_empty());
            let (verb, subresource, name) = (text("verb"), text("subresource"), text("name"));
            let wanted = Attributes { verb, resource, subresource, namespace, name, fields: "" };
            context.registry.authorize(identity, &wanted).is_ok()
        }
        None => identity.is_in(ADMINISTRATORS),
    };
    json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
        "spec": review.get("spec"), "status": {"allowed": allowed},
    })
}
