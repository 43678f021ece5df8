//! What is between an agent and the API, and can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use wherry_api::{Error, Reason, Resource};
use wherry_base::{Clock, SystemClock};
use wherry_client::{Client, RawWatch, Request, Transport, Verb, WatchOptions};

/// A transport that can be cut: requests fail; watches are silent in any case while nothing changes.
pub struct Cable {
    inner: Client,
    is_cut: AtomicBool,
    /// The cluster behind it makes tokens, which ours does not.
    pub makes_tokens: AtomicBool,
}

impl Cable {
    pub fn of(client: &Client) -> Arc<Self> {
        Arc::new(Self { inner: client.clone(), is_cut: AtomicBool::new(false), makes_tokens: AtomicBool::new(false) })
    }

    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// A token that says for whom it is, in what name, and for how long; good for an hour.
    fn token(&self, request: &Request) -> Bytes {
        let Verb::Create(body) = &request.verb else { panic!("a token is created") };
        let asked: Value = serde_json::from_slice(body).unwrap();
        let spec = &asked["spec"];
        let bound = &spec["boundObjectRef"];
        let token = format!("{} {} {} {}", request.name, bound["name"], spec["audiences"], spec["expirationSeconds"]);
        let until = SystemClock.now() + jiff::SignedDuration::from_hours(1);
        json!({ "status": { "token": token, "expirationTimestamp": until.to_string() } }).to_string().into()
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
        if request.subresource == "token" && self.makes_tokens.load(Ordering::SeqCst) {
            return Ok(self.token(&request));
        }
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
