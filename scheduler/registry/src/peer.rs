//! Other masters' registries: whoever lacks a blob fetches it from them, and has them fetch what was pushed here.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, StatusCode};
use wherry_client::Https;

use crate::Digest;

/// The registry of another master.
#[async_trait]
pub trait Peer: Send + Sync + 'static {
    /// The content of a blob that it has itself; an error in words where it has none, or is not reached.
    async fn blob(&self, digest: &Digest) -> Result<BoxStream<'static, Result<Bytes, String>>, String>;

    /// Resolves when it has a blob, on its disk: it fetches what it lacks from the other masters.
    async fn take(&self, digest: &Digest) -> Result<(), String>;
}

#[async_trait]
impl Peer for Https {
    async fn blob(&self, digest: &Digest) -> Result<BoxStream<'static, Result<Bytes, String>>, String> {
        let chunks = self.stream(&path(digest)).await.map_err(|error| error.to_string())?;
        Ok(chunks.map(|chunk| chunk.map_err(|error| error.to_string())).boxed())
    }

    async fn take(&self, digest: &Digest) -> Result<(), String> {
        let answer = self.call(Method::POST, &path(digest), "*/*", None, Bytes::new()).await;
        let (status, ..) = answer.map_err(|error| error.to_string())?;
        if status == StatusCode::CREATED { Ok(()) } else { Err(format!("the other master answers {status}")) }
    }
}

/// The paths below which one master answers for itself, to others. No repository is called so.
pub const OF_MASTERS: &str = "/v2/_local/";

fn path(digest: &Digest) -> String {
    format!("{OF_MASTERS}blobs/{digest}")
}
