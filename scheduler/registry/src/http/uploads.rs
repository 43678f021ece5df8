//! Uploads: in one request, in one `PUT` after a `POST`, or in chunks.

use axum::extract::Request;
use axum::http::header::{CONTENT_RANGE, LOCATION, RANGE};
use axum::response::Response;
use futures::StreamExt;

use super::answer;
use super::target::Begin;
use crate::store::UploadId;
use crate::{Digest, Error, ImageStore, RepositoryName};

pub(super) async fn begin(
    store: &ImageStore,
    repository: &RepositoryName,
    begin: &Begin,
    request: Request,
) -> Result<Response, Error> {
    if let Some(digest) = &begin.mount
        && store.obtain(digest).await.is_ok()
    {
        return Ok(created(repository, digest));
    }
    let id = store.begin_upload().await?;
    match &begin.digest {
        Some(_) => finish(store, repository, id, begin.digest.clone(), request).await,
        None => Ok(under_way(202, repository, id, 0)),
    }
}

pub(super) async fn status(store: &ImageStore, repository: &RepositoryName, id: UploadId) -> Result<Response, Error> {
    Ok(under_way(204, repository, id, store.upload_size(id).await?))
}

pub(super) async fn append(
    store: &ImageStore,
    repository: &RepositoryName,
    id: UploadId,
    request: Request,
) -> Result<Response, Error> {
    let size = receive(store, id, request).await?;
    Ok(under_way(202, repository, id, size))
}

pub(super) async fn finish(
    store: &ImageStore,
    repository: &RepositoryName,
    id: UploadId,
    digest: Option<Digest>,
    request: Request,
) -> Result<Response, Error> {
    let digest = digest.ok_or_else(|| Error::DigestInvalid(String::new()))?;
    receive(store, id, request).await?;
    store.finish_upload(id, &digest).await?;
    Ok(created(repository, &digest))
}

/// Appends the body to the upload. Where the request says at which byte it begins, that must be the next one.
async fn receive(store: &ImageStore, id: UploadId, request: Request) -> Result<u64, Error> {
    let range = request.headers().get(CONTENT_RANGE).and_then(|text| text.to_str().ok());
    let mut at = range.and_then(|range| range.trim_start_matches("bytes ").split('-').next()?.parse().ok());
    let mut size = store.append(id, at, &[]).await?;
    let mut body = request.into_body().into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Error::Body(error.to_string()))?;
        at = at.map(|_| size);
        size = store.append(id, at, &chunk).await?;
    }
    Ok(size)
}

fn created(repository: &RepositoryName, digest: &Digest) -> Response {
    answer::created(format!("/v2/{repository}/blobs/{digest}"), digest)
}

fn under_way(status: u16, repository: &RepositoryName, id: UploadId, size: u64) -> Response {
    let mut response = answer::empty(status);
    answer::set(&mut response, LOCATION, format!("/v2/{repository}/blobs/uploads/{id}"));
    answer::set(&mut response, RANGE, format!("0-{}", size.saturating_sub(1)));
    answer::set(&mut response, answer::UPLOAD_ID, id);
    response
}
