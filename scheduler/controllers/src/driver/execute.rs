//! Carries out plans: each action is one request; creations and deletions go side by side, in slow-start batches.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use wherry_api::kinds::ObjectMeta;
use wherry_api::{Error, Kind, ObjectKey, Reason, Resource, kinds};
use wherry_client::{Client, DeleteOptions, ListOptions, PatchKind, Request, Verb};

use super::events::Events;
use super::expect::{Done, Outcome, revision_of};
use crate::plan::{Action, Item, Subject, Told};
use crate::world::Notes;

/// How many requests of one plan run at once at the most.
const TOGETHER_MAX: usize = 256;

pub(crate) struct Executor {
    /// Who tells of what is done.
    pub(crate) source: &'static str,
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) notes: Arc<Notes>,
}

#[derive(Deserialize)]
struct Answer {
    metadata: ObjectMeta,
}

impl Executor {
    /// Carries the actions out in order; stops at the first batch that fails. What was done, and the first error.
    pub(crate) async fn carry_out(&self, actions: Vec<Action>) -> (Vec<Done>, Result<(), Error>) {
        let mut done = Vec::new();
        let mut rest = actions.as_slice();
        let mut batch_max = 1;
        while let Some(first) = rest.first() {
            let like = rest.iter().take_while(|action| first.runs_beside(action)).count();
            let (batch, later) = rest.split_at(like.clamp(1, batch_max));
            let acts: Vec<_> = batch.iter().map(|action| self.act(action).boxed()).collect();
            let outcomes: Vec<_> = futures::stream::iter(acts).buffered(TOGETHER_MAX).collect().await;
            let mut failure = None;
            for outcome in outcomes {
                match outcome {
                    Ok(change) => done.extend(change),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            if let Some(error) = failure {
                return (done, Err(error));
            }
            batch_max = (batch_max * 2).min(TOGETHER_MAX);
            rest = later;
        }
        (done, Ok(()))
    }

    async fn act(&self, action: &Action) -> Result<Option<Done>, Error> {
        match action {
            Action::Tell(told) => {
                self.events.tell(self.source, told.clone());
                Ok(None)
            }
            Action::Create { resource, object, told_of } => self.create(resource, object, told_of.as_ref()).await,
            Action::Merge { resource, key, subresource, patch } => {
                self.change(resource, key, subresource, Verb::Patch(PatchKind::Merge, bytes(patch))).await
            }
            Action::Conditions { resource, key, patch } => {
                self.change(resource, key, "status", Verb::Patch(PatchKind::Strategic, bytes(patch))).await
            }
            Action::Replace { resource, key, subresource, object } => {
                self.change(resource, key, subresource, Verb::Update(bytes(object))).await
            }
            Action::Delete { resource, key, options, told_of } => {
                self.delete(resource, key, options, told_of.as_ref()).await
            }
            Action::Collect { resource, key, options, owners } => {
                for owner in owners {
                    if self.is_there(owner).await? {
                        return Ok(None);
                    }
                }
                self.delete(resource, key, options, None).await
            }
            Action::DeleteAll { resource, namespace } => {
                let all = Verb::DeleteCollection(ListOptions::default(), DeleteOptions::default());
                self.send(resource, &ObjectKey::new(namespace, ""), "", all).await.map(|_| None)
            }
            Action::Note { about, note } => {
                self.notes.set(about, note.clone());
                Ok(None)
            }
        }
    }

    async fn delete(
        &self,
        resource: &'static Resource,
        key: &ObjectKey,
        options: &DeleteOptions,
        told_of: Option<&Subject>,
    ) -> Result<Option<Done>, Error> {
        let outcome = self.send(resource, key, "", Verb::Delete(options.clone())).await;
        self.tell(resource, &key.name, told_of, "Delete", outcome.as_ref().err());
        match outcome {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => {
                let outcome = Outcome::Gone(options.precondition.uid.clone());
                Ok(Some(Done { resource, key: key.clone(), outcome }))
            }
        }
    }

    /// Asks the API itself, since no informer shows what it has not heard of yet.
    async fn is_there(&self, item: &Item) -> Result<bool, Error> {
        match self.send(item.resource, &item.key, "", Verb::Get).await {
            Ok(answer) => Ok(meta(&answer)?.uid.as_deref() == Some(&*item.uid)),
            Err(error) if error.reason == Reason::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(
        &self,
        resource: &'static Resource,
        object: &Value,
        told_of: Option<&Subject>,
    ) -> Result<Option<Done>, Error> {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        let outcome = self.send(resource, &ObjectKey::new(namespace, ""), "", Verb::Create(bytes(object))).await;
        let outcome = outcome.and_then(|answer| meta(&answer));
        let name = outcome.as_ref().ok().and_then(|meta| meta.name.clone()).unwrap_or_default();
        self.tell(resource, &name, told_of, "Create", outcome.as_ref().err());
        let outcome = Outcome::Shown(revision_of(&outcome?));
        Ok(Some(Done { resource, key: ObjectKey::new(namespace, &name), outcome }))
    }

    /// An object that is gone meanwhile needs no change.
    async fn change(
        &self,
        resource: &'static Resource,
        key: &ObjectKey,
        subresource: &'static str,
        verb: Verb,
    ) -> Result<Option<Done>, Error> {
        let answer = match self.send(resource, key, subresource, verb).await {
            Err(error) if error.reason == Reason::NotFound => return Ok(None),
            answer => meta(&answer?)?,
        };
        // The last finalizer's removal is the object's end: no informer will show that version.
        if answer.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let outcome = Outcome::Shown(revision_of(&answer));
        Ok(Some(Done { resource, key: key.clone(), outcome }))
    }

    async fn send(
        &self,
        resource: &'static Resource,
        key: &ObjectKey,
        subresource: &'static str,
        verb: Verb,
    ) -> Result<Bytes, Error> {
        let namespace = Some(key.namespace.to_string()).filter(|_| resource.namespaced);
        let request = Request { resource, namespace, name: key.name.to_string(), subresource, verb };
        self.client.transport().send(request).await
    }

    fn tell(&self, resource: &Resource, name: &str, of: Option<&Subject>, verb: &str, error: Option<&Error>) {
        let Some(about) = of.cloned() else { return };
        let is_create = verb == "Create";
        let (reason, message) = match error {
            None if is_create => ("SuccessfulCreate", format!("Created {}: {name}", resource.singular)),
            None => ("SuccessfulDelete", format!("Deleted {}: {name}", resource.singular)),
            Some(error) if is_create => ("FailedCreate", format!("Error creating: {error}")),
            Some(error) => ("FailedDelete", format!("Error deleting: {error}")),
        };
        self.events.tell(self.source, Told { about, is_warning: error.is_some(), reason, message });
    }
}

impl Action {
    /// Whether the order of these two does not matter.
    fn runs_beside(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Create { .. }, Self::Create { .. })
            | (Self::Delete { .. }, Self::Delete { .. })
            | (Self::Collect { .. }, Self::Collect { .. })
            | (Self::Conditions { .. }, Self::Conditions { .. })
            | (Self::Note { .. }, Self::Note { .. })
            | (Self::Tell(_), Self::Tell(_)) => true,
            (Self::Merge { resource, .. }, Self::Merge { resource: other, .. }) => {
                let is_pod = |resource: &'static Resource| std::ptr::eq(resource, kinds::Pod::resource());
                is_pod(resource) && is_pod(other)
            }
            _ => false,
        }
    }
}

fn meta(answer: &Bytes) -> Result<ObjectMeta, Error> {
    let answer: Result<Answer, _> = serde_json::from_slice(answer);
    answer.map(|a| a.metadata).map_err(|e| Error::new(Reason::InternalError, format!("unreadable answer: {e}")))
}

fn bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}
