//! What is between an agent and the API, and can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use wherry_api::{Error, Reason, Resource};
use wherry_client::{Client, RawWatch, Request, Transport, WatchOptions};

/// A transport that can be cut: requests fail; watches are silent in any case while nothing changes.
pub struct Cable {
    inner: Client,
    is_cut: AtomicBool,
}

impl Cable {
    pub fn of(client: &Client) -> Arc<Self> {
        Arc::new(Self { inner: client.clone(), is_cut: AtomicBool::new(false) })
    }

    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), Error> {
        let is_cut = self.is_cut.load(Ordering::SeqCst);
        if is_cut { Err(Error::new(Reason::ServiceUnavailable, "the cable is cut")) } else { Ok(()) }
    }
}

#[async_trait]
impl Transport for Cable {
    async fn send(&self, request: Request) -> Result<Bytes, Error> {
        self.check()?;
        self.inner.transport().send(request).await
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        namespace: Option<String>,
        options: WatchOptions,
    ) -> Result<RawWatch, Error> {
        self.check()?;
        self.inner.transport().watch(resource, namespace, options).await
    }
}
