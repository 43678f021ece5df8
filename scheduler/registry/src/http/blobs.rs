//! Blobs, whole or from some byte on.

use std::io::SeekFrom;
use std::ops::RangeInclusive;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::answer;
use crate::{Digest, Error, ImageStore};

/// How much is read of a file at once, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

pub(super) async fn get(store: &ImageStore, digest: &Digest, request: Request) -> Result<Response, Error> {
    // The request itself must not live across an await: its body cannot be shared between threads.
    let (request, _) = request.into_parts();
    let size = store.blob_size(digest).await?;
    let range = request.headers.get(RANGE).and_then(|text| part(text.to_str().ok()?, size));
    let mut response = answer::empty(if range.is_some() { 206 } else { 200 });
    let (first, length) = range.as_ref().map_or((0, size), |range| (*range.start(), range.end() - range.start() + 1));
    if let Some(range) = &range {
        let text = format!("bytes {}-{}/{size}", range.start(), range.end());
        answer::set(&mut response, CONTENT_RANGE, text);
    }
    answer::set(&mut response, CONTENT_LENGTH, length);
    answer::set(&mut response, CONTENT_TYPE, "application/octet-stream");
    answer::set(&mut response, ACCEPT_RANGES, "bytes");
    answer::set(&mut response, answer::CONTENT_DIGEST, digest);
    answer::set(&mut response, ETAG, format!("\"{digest}\""));
    if request.method == "GET" {
        *response.body_mut() = content(store, digest, first, length).await?;
    }
    Ok(response)
}

async fn content(store: &ImageStore, digest: &Digest, first: u64, length: u64) -> Result<Body, Error> {
    let mut file = tokio::fs::File::open(store.blob_path(digest)).await?;
    file.seek(SeekFrom::Start(first)).await?;
    Ok(Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK_BYTES)))
}

/// The bytes that `bytes=FIRST-` or `bytes=FIRST-LAST` names; none where it is something else, or past the end:
/// then the whole blob is sent, as HTTP allows.
fn part(text: &str, size: u64) -> Option<RangeInclusive<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = size.checked_sub(1)?;
    let last = if last.is_empty() { end } else { last.parse::<u64>().ok()?.min(end) };
    (first <= last).then_some(first..=last)
}
