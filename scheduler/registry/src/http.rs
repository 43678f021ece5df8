//! The routes of the distribution specification. Repository names hold slashes, so the path is read by hand.

mod answer;
mod blobs;
mod manifests;
mod target;
mod uploads;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::Response;
use axum::routing::any;

use crate::{Error, ImageStore};
use target::Target;

/// The registry's routes, all below `/v2`. Who may do what is for a layer around it to decide.
pub fn router(store: ImageStore) -> Router {
    Router::new()
        .route("/v2", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*path}", any(serve))
        .layer(DefaultBodyLimit::disable())
        .with_state(store)
}

async fn serve(State(store): State<ImageStore>, request: Request) -> Response {
    let done = match Target::parse(request.uri()) {
        Ok(target) => dispatch(&store, target, request).await,
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|error| answer::failed(&error))
}

async fn dispatch(store: &ImageStore, target: Target, request: Request) -> Result<Response, Error> {
    let method = request.method().clone();
    match (method.as_str(), target) {
        ("GET" | "HEAD", Target::Base) => Ok(answer::json(&serde_json::json!({}))),
        ("GET", Target::Catalog(page)) => manifests::catalog(store, &page).await,
        ("GET", Target::Tags(repository, page)) => manifests::tags(store, &repository, &page).await,
        ("GET" | "HEAD", Target::Manifest(repository, reference)) => {
            manifests::get(store, &repository, &reference, method == "GET").await
        }
        ("PUT", Target::Manifest(repository, reference)) => {
            manifests::put(store, &repository, &reference, request).await
        }
        ("DELETE", Target::Manifest(repository, reference)) => {
            store.remove(&repository, &reference).await?;
            store.collect_garbage().await?;
            Ok(answer::empty(202))
        }
        ("GET" | "HEAD", Target::Blob(digest)) => {
            store.obtain(&digest).await?;
            blobs::get(store, &digest, request).await
        }
        ("GET", Target::Local(digest)) => blobs::get(store, &digest, request).await,
        ("POST", Target::Local(digest)) => {
            store.take(&digest).await?;
            Ok(answer::empty(201))
        }
        ("DELETE", Target::Blob(digest)) => {
            store.remove_blob(&digest).await?;
            Ok(answer::empty(202))
        }
        ("POST", Target::Uploads(repository, begin)) => uploads::begin(store, &repository, &begin, request).await,
        ("GET", Target::Upload(repository, id, _)) => uploads::status(store, &repository, id).await,
        ("PATCH", Target::Upload(repository, id, _)) => uploads::append(store, &repository, id, request).await,
        ("PUT", Target::Upload(repository, id, digest)) => {
            uploads::finish(store, &repository, id, digest, request).await
        }
        ("DELETE", Target::Upload(_, id, _)) => {
            store.cancel_upload(id)?;
            Ok(answer::empty(204))
        }
        _ => Err(Error::Unsupported),
    }
}
