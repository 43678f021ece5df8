//! A client straight over a store: create, get, list, merge patch, delete with grace, watch. No admission, no selectors.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use wherry_api::{Error, ObjectKey, Reason, Resource};
use wherry_base::Clock;
use wherry_client::{Client, EventKind, RawEvent, RawWatch, Request, Transport, Verb, WatchOptions};
use wherry_store::{ChangeKind, Command, Conflict, Encoded, Entry, Expect, ProposeError, Store};

pub fn client(store: Store) -> Client {
    Client::new(Arc::new(StoreTransport(store)))
}

struct StoreTransport(Store);

#[async_trait]
impl Transport for StoreTransport {
    async fn send(&self, request: Request) -> Result<Bytes, Error> {
        let resource = request.resource;
        let key = |name: &str| ObjectKey::new(request.namespace.as_deref().unwrap_or_default(), name);
        let key_of = key(&request.name);
        match request.verb {
            Verb::Get => Ok(self.entry(resource, &key_of)?.json.clone()),
            Verb::List(_) => Ok(self.list(resource)),
            Verb::Create(body) => {
                let mut object: Value = serde_json::from_slice(&body).unwrap();
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                let uid = format!("uid-{name}-{}", self.0.revision());
                object["metadata"]["uid"] = json!(uid);
                self.put(resource, key(&name), Expect::Absent, &object).await
            }
            Verb::Patch(_, body) => loop {
                let patch: Value = serde_json::from_slice(&body).unwrap();
                let entry = self.entry(resource, &key_of)?;
                let mut object: Value = serde_json::from_slice(&entry.json).unwrap();
                if let Some(uid) = patch["metadata"]["uid"].as_str().filter(|uid| *uid != &*entry.index.uid) {
                    return Err(resource.conflict(&request.name, uid));
                }
                json_patch::merge(&mut object, &patch);
                let put = self.put(resource, key_of.clone(), Expect::Revision(entry.revision), &object).await;
                if put.as_ref().is_err_and(|error| error.reason == Reason::Conflict) {
                    continue;
                }
                return put;
            },
            Verb::Delete(options) => {
                let entry = self.entry(resource, &key_of)?;
                let mut object: Value = serde_json::from_slice(&entry.json).unwrap();
                let grace = options.grace_period_seconds.unwrap_or(30);
                if grace == 0 {
                    let command = Command::Delete { resource, key: key_of, expect: Expect::Revision(entry.revision) };
                    return self.propose(resource, command).await;
                }
                object["metadata"]["deletionTimestamp"] =
                    json!(wherry_base::SystemClock.now() + jiff::SignedDuration::from_secs(grace));
                object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
                self.put(resource, key_of, Expect::Revision(entry.revision), &object).await
            }
            Verb::Update(_) | Verb::DeleteCollection(..) => unimplemented!(),
        }
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        _: Option<String>,
        options: WatchOptions,
    ) -> Result<RawWatch, Error> {
        let from = options.resource_version.parse().map(wherry_api::Revision).unwrap_or(self.0.revision());
        let watch = self.0.watch(resource, from).map_err(|error| Error::new(Reason::Expired, error.to_string()))?;
        let batches =
            futures::stream::unfold(watch, |mut watch| async { Some((watch.next(100).await.unwrap(), watch)) });
        let event = |change: Arc<wherry_store::Change>| {
            let kind = match change.kind {
                ChangeKind::Created => EventKind::Added,
                ChangeKind::Updated => EventKind::Modified,
                ChangeKind::Deleted => EventKind::Deleted,
            };
            Ok(RawEvent { kind, object: change.entry.json.clone() })
        };
        Ok(batches.flat_map(move |batch| futures::stream::iter(batch.into_iter().map(event))).boxed())
    }
}

impl StoreTransport {
    fn entry(&self, resource: &'static Resource, key: &ObjectKey) -> Result<Arc<Entry>, Error> {
        self.0.snapshot(resource).objects.get(key).cloned().ok_or_else(|| resource.not_found(&key.name))
    }

    fn list(&self, resource: &'static Resource) -> Bytes {
        let snapshot = self.0.snapshot(resource);
        let items: Vec<Value> =
            snapshot.objects.values().map(|entry| serde_json::from_slice(&entry.json).unwrap()).collect();
        let list = json!({ "metadata": { "resourceVersion": snapshot.revision.to_string() }, "items": items });
        serde_json::to_vec(&list).unwrap().into()
    }

    async fn put(
        &self,
        resource: &'static Resource,
        key: ObjectKey,
        expect: Expect,
        object: &Value,
    ) -> Result<Bytes, Error> {
        self.propose(resource, Command::Put { resource, key, expect, object: Encoded::new(object) }).await
    }

    async fn propose(&self, resource: &'static Resource, command: Command) -> Result<Bytes, Error> {
        let name = match &command {
            Command::Put { key, .. } | Command::Delete { key, .. } => key.name.clone(),
        };
        let expected = match &command {
            Command::Put { expect, .. } | Command::Delete { expect, .. } => *expect,
        };
        self.0.propose(command).await.map(|applied| applied.entry.json.clone()).map_err(|error| match error {
            ProposeError::Conflict(Conflict::Exists(_)) if expected == Expect::Absent => resource.already_exists(&name),
            ProposeError::Conflict(Conflict::Missing) => resource.not_found(&name),
            ProposeError::Conflict(_) => resource.conflict(&name, "changed"),
            error => Error::new(Reason::InternalError, error.to_string()),
        })
    }
}
