//! Blobs that other masters have, and blobs that they are to have.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, FuturesUnordered};

use super::ImageStore;
use crate::{Digest, Error, Peer};

/// How long another master may take to say whether it has a blob.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);
/// How long the other masters may take to fetch what was pushed.
const SPREAD_PATIENCE: Duration = Duration::from_secs(60);

impl ImageStore {
    /// Makes sure that a blob is here, from another master where it is not; its size, in bytes.
    pub(crate) async fn obtain(&self, digest: &Digest) -> Result<u64, Error> {
        match self.blob_size(digest).await {
            Err(Error::BlobUnknown(_)) => {}
            known => return known,
        }
        let Ok(_place) = self.inner.fetches.acquire().await else { return Err(Error::BlobUnknown(digest.clone())) };
        let peers = self.inner.peers.borrow().clone();
        let mut opened: FuturesUnordered<_> =
            peers.iter().map(|peer| tokio::time::timeout(OPEN_PATIENCE, peer.blob(digest))).collect();
        while let Some(answer) = opened.next().await {
            let Ok(Ok(content)) = answer else { continue };
            match self.receive(digest, content).await {
                Ok(()) => return self.blob_size(digest).await,
                Err(error) => tracing::warn!(%digest, %error, "another master's blob could not be fetched"),
            }
        }
        Err(Error::BlobUnknown(digest.clone()))
    }

    /// The same at the request of a master that is about to give it a name: until then it is no garbage.
    pub(crate) async fn take(&self, digest: &Digest) -> Result<(), Error> {
        self.inner.fresh().add(digest.clone());
        self.obtain(digest).await.map(drop)
    }

    /// The same of a manifest and all that it refers to, directly or not: all of their digests.
    pub(super) async fn obtain_image(&self, manifest: &Digest) -> Result<Vec<Digest>, Error> {
        let (mut ahead, mut all) = (vec![manifest.clone()], Vec::new());
        while let Some(digest) = ahead.pop() {
            let size = self.obtain(&digest).await?;
            all.push(digest.clone());
            ahead.extend(self.blocking(move |store| Ok(store.refers_to(&digest, size))).await?);
        }
        Ok(all)
    }

    /// Stores content that has the digest.
    async fn receive(
        &self,
        digest: &Digest,
        mut content: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<(), Error> {
        let id = self.begin_upload().await?;
        while let Some(chunk) = content.next().await {
            self.append(id, None, &chunk.map_err(Error::Body)?).await?;
        }
        self.finish_upload(id, digest).await
    }

    /// Has other masters fetch these blobs, and resolves when a majority of all masters, this one counted, has them on
    /// disk. The others follow.
    pub(super) async fn spread(&self, digests: &[Digest]) -> Result<(), Error> {
        let peers = self.inner.peers.borrow().clone();
        let mut wanted = peers.len().div_ceil(2);
        let take = |peer: &Arc<dyn Peer>| {
            let peer = Arc::clone(peer);
            async move {
                for digest in digests {
                    peer.take(digest).await?;
                }
                Ok::<(), String>(())
            }
        };
        let mut taken: FuturesUnordered<_> =
            peers.iter().map(|peer| tokio::time::timeout(SPREAD_PATIENCE, take(peer))).collect();
        while wanted > 0 {
            match taken.next().await {
                Some(Ok(Ok(()))) => wanted -= 1,
                Some(Ok(Err(why))) => tracing::warn!(why, "another master could not take an image that was pushed"),
                Some(Err(_)) => tracing::warn!("another master has not taken in time an image that was pushed"),
                None => return Err(Error::NoMajority),
            }
        }
        Ok(())
    }
}
