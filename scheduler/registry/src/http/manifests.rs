//! Manifests by tag and digest, and the lists of tags and repositories.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LINK};
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;

use super::answer;
use super::target::Page;
use crate::{Error, ImageStore, MANIFEST_BYTES_MAX, Reference, RepositoryName};

pub(super) async fn get(
    store: &ImageStore,
    repository: &RepositoryName,
    reference: &Reference,
    with_body: bool,
) -> Result<Response, Error> {
    let manifest = store.resolve(repository, reference).await?;
    let mut response = answer::empty(200);
    answer::set(&mut response, CONTENT_TYPE, &manifest.media_type);
    answer::set(&mut response, CONTENT_LENGTH, manifest.bytes.len());
    answer::set(&mut response, answer::CONTENT_DIGEST, &manifest.digest);
    answer::set(&mut response, ETAG, format!("\"{}\"", manifest.digest));
    if with_body {
        *response.body_mut() = Body::from(manifest.bytes);
    }
    Ok(response)
}

pub(super) async fn put(
    store: &ImageStore,
    repository: &RepositoryName,
    reference: &Reference,
    request: Request,
) -> Result<Response, Error> {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|text| text.to_str().ok()).map(str::to_owned);
    let bytes = whole(request.into_body()).await?;
    let digest = store.put_manifest(repository, reference, media_type.as_deref(), bytes).await?;
    Ok(answer::created(format!("/v2/{repository}/manifests/{reference}"), &digest))
}

async fn whole(body: Body) -> Result<Bytes, Error> {
    let too_large = Error::TooLarge { limit_bytes: MANIFEST_BYTES_MAX as u64 };
    axum::body::to_bytes(body, MANIFEST_BYTES_MAX).await.map_err(|error| {
        let is_limit = std::error::Error::source(&error).is_some_and(|e| e.is::<http_body_util::LengthLimitError>());
        if is_limit { too_large } else { Error::Body(error.to_string()) }
    })
}

pub(super) async fn tags(store: &ImageStore, repository: &RepositoryName, page: &Page) -> Result<Response, Error> {
    let (tags, has_more) = cut(store.tags(repository).await?, page);
    let mut response = answer::json(&json!({"name": repository.as_str(), "tags": tags}));
    link(&mut response, &format!("/v2/{repository}/tags/list"), &tags, has_more);
    Ok(response)
}

pub(super) async fn catalog(store: &ImageStore, page: &Page) -> Result<Response, Error> {
    let all = store.repositories().await?.iter().map(ToString::to_string).collect();
    let (names, has_more) = cut(all, page);
    let mut response = answer::json(&json!({"repositories": names}));
    link(&mut response, "/v2/_catalog", &names, has_more);
    Ok(response)
}

/// The page of a sorted list, and whether there is more.
fn cut(mut all: Vec<String>, page: &Page) -> (Vec<String>, bool) {
    all.retain(|name| page.after.as_ref().is_none_or(|after| name > after));
    let most = page.most.unwrap_or(usize::MAX);
    let has_more = all.len() > most;
    all.truncate(most);
    (all, has_more)
}

fn link(response: &mut Response, path: &str, names: &[String], has_more: bool) {
    if let Some(last) = names.last().filter(|_| has_more) {
        answer::set(response, LINK, format!("<{path}?n={}&last={last}>; rel=\"next\"", names.len()));
    }
}
