//! The whole state as a file, and back: for administrators, on any master that leads (saving: on any).

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::StreamExt;
use http::{Method, StatusCode};
use serde_json::json;
use wherry_api::routes::SNAPSHOT;
use wherry_api::{Error, Reason};
use wherry_store::{Assembly, Leadership, ProposeError, RestoreError};

use super::{Context, text};
use crate::authorize::administer;
use crate::identity::Identity;

/// Whether the path is this one.
pub(super) fn is_named(path: &str) -> bool {
    path == SNAPSHOT
}

/// GET saves, PUT restores.
pub(super) async fn answer(context: &Context, identity: &Identity, request: Request) -> Result<Response, Error> {
    administer(identity, "the cluster's state")?;
    match *request.method() {
        Method::GET => Ok(saved(context)),
        Method::PUT => {
            check_leads(context)?;
            restored(context, request.into_body()).await
        }
        _ => Err(Error::new(Reason::MethodNotAllowed, "a snapshot is saved with GET and restored with PUT")),
    }
}

fn saved(context: &Context) -> Response {
    let pieces = futures::stream::iter(context.registry.store().save().map(Ok::<_, Infallible>));
    text(StatusCode::OK, "application/octet-stream", Body::from_stream(pieces))
}

/// What is restored may be large: it is not passed on.
fn check_leads(context: &Context) -> Result<(), Error> {
    match &*context.registry.store().leadership().borrow() {
        Leadership::Follower { leader: Some(leader) } => {
            let message = format!("another master leads; restore by way of it, {} at {}", leader.name, leader.address);
            Err(Error::new(Reason::ServiceUnavailable, message))
        }
        _ => Ok(()),
    }
}

async fn restored(context: &Context, body: Body) -> Result<Response, Error> {
    let mut assembly = Assembly::default();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Error::new(Reason::BadRequest, error.to_string()))?;
        assembly.add(&piece).map_err(|error| refusal(&error))?;
    }
    let objects = context.registry.store().restore(assembly).await.map_err(|error| refusal(&error))?;
    Ok(text(StatusCode::OK, "application/json", json!({"objects": objects}).to_string()))
}

fn refusal(error: &RestoreError) -> Error {
    let reason = match error {
        RestoreError::Write(ProposeError::Disk(_)) => Reason::InternalError,
        RestoreError::Write(_) => Reason::ServiceUnavailable,
        RestoreError::Unknown | RestoreError::Damaged(_) => Reason::BadRequest,
    };
    Error::new(reason, error.to_string())
}
