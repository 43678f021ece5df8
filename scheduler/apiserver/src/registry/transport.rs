//! The way of in-process clients: the same verbs and the same authorization as over HTTP, without HTTP.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use wherry_api::resource::Subresource;
use wherry_api::{Error, Reason, Resource};
use wherry_client::{RawWatch, Request, Transport, Verb, WatchOptions};

use super::delete::Deleted;
use super::modify::ours;
use super::watch::View;
use super::{Page, Registry, Target, WriteOptions, oldest, revision, subresource};
use crate::authorize::Attributes;
use crate::identity::Identity;
use crate::masters::Asker;

pub(super) struct InProcess {
    registry: Registry,
    asker: Asker,
}

impl InProcess {
    pub(super) const fn new(registry: Registry, asker: Asker) -> Self {
        Self { registry, asker }
    }

    const fn identity(&self) -> &Identity {
        &self.asker.identity
    }

    fn options(&self) -> WriteOptions {
        WriteOptions { node: self.identity().node_name().map(Into::into), ..ours() }
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        let verb = verb_word(&request.verb);
        let namespace = request.namespace.as_deref();
        let Request { resource, name, subresource, .. } = request;
        let fields = if let Verb::List(list) = &request.verb { list.fields.as_str() } else { "" };
        let wanted = Attributes { verb, resource, subresource, namespace, name, fields };
        self.registry.authorize(self.identity(), &wanted)
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, request: Request) -> Result<Bytes, Error> {
        let target = Target::new(request.resource, request.namespace.as_deref(), &request.name);
        subresource::named(&target, request.subresource)?;
        self.check(&request)?;
        let is_read = matches!(request.verb, Verb::Get | Verb::List(_));
        if is_read && !request.resource.volatile {
            return self.carry_out(request).await;
        }
        let here = || async {
            if is_read {
                self.registry.check_readable(request.resource)?;
            }
            self.carry_out(request.clone()).await
        };
        self.registry.at_leader(&self.asker, here, |leader| leader.send(request.clone())).await
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        namespace: Option<String>,
        options: WatchOptions,
    ) -> Result<RawWatch, Error> {
        let namespace = namespace.as_deref();
        let (verb, fields) = ("watch", options.fields.as_str());
        let wanted = Attributes { verb, resource, subresource: "", namespace, name: "", fields };
        self.registry.authorize(self.identity(), &wanted)?;
        if !resource.volatile {
            return self.open(resource, namespace, &options).await;
        }
        let here = || self.open(resource, namespace, &options);
        self.registry.at_leader(&self.asker, here, |leader| leader.watch(resource, namespace, &options)).await
    }
}

impl InProcess {
    /// Opens a watch here.
    async fn open(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        options: &WatchOptions,
    ) -> Result<RawWatch, Error> {
        self.registry.reach(revision(&options.resource_version)?).await?;
        self.registry.check_readable(resource)?;
        self.registry.watch(resource, namespace, options, None).map(View::stream)
    }

    /// Carries out a request here.
    async fn carry_out(&self, request: Request) -> Result<Bytes, Error> {
        let target = Target::new(request.resource, request.namespace.as_deref(), &request.name);
        let subresource = subresource::named(&target, request.subresource)?;
        let namespace = request.namespace.as_deref();
        let (registry, options) = (&self.registry, self.options());
        match (request.verb, subresource) {
            (Verb::Get, subresource) => {
                registry.reach(None).await?;
                let is_scale = subresource == Some(Subresource::Scale);
                if is_scale { registry.scale(&target).map(encode) } else { registry.get(&target) }
            }
            (Verb::List(list), _) => {
                registry.reach(oldest(&list, None)).await?;
                registry.list(request.resource, namespace, &list).map(|page| page.encode(request.resource))
            }
            (Verb::Create(body), Some(subresource)) => registry.post(&target, subresource, &parse(&body)?, false).await,
            (Verb::Create(body), None) => {
                let mut object = parse(&body)?;
                self.identity().stamp(request.resource, &mut object);
                Ok(registry.create(request.resource, namespace, object, &options).await?.json)
            }
            (Verb::Update(body), Some(Subresource::Scale)) => {
                registry.set_scale(&target, None, &parse(&body)?, &options).await.map(encode)
            }
            (Verb::Update(body), Some(Subresource::Finalize)) => {
                Ok(registry.finalize(&target, &parse(&body)?, false).await?.json)
            }
            (Verb::Update(body), _) => {
                Ok(registry.update(&target, request.subresource, parse(&body)?, &options).await?.json)
            }
            (Verb::Patch(kind, body), Some(Subresource::Scale)) => {
                registry.set_scale(&target, Some(kind), &parse(&body)?, &options).await.map(encode)
            }
            (Verb::Patch(kind, body), _) => {
                Ok(registry.patch(&target, request.subresource, kind, &parse(&body)?, &options).await?.json)
            }
            (Verb::Delete(delete), _) => {
                registry.delete(&target, &delete, false).await.map(|done| done.encode(&target))
            }
            (Verb::DeleteCollection(which, delete), _) => {
                let deleted = registry.delete_collection(request.resource, namespace, &which, &delete, false).await?;
                Ok(deleted.encode(request.resource))
            }
        }
    }
}

impl Registry {
    /// Posts to a subresource.
    pub(crate) async fn post(
        &self,
        target: &Target,
        subresource: Subresource,
        body: &Value,
        dry_run: bool,
    ) -> Result<Bytes, Error> {
        match subresource {
            Subresource::Binding => self.bind(target, body, dry_run).await?,
            Subresource::Eviction => self.evict(target, body, dry_run).await?,
            _ => {
                return Err(Error::new(
                    Reason::MethodNotAllowed,
                    "the server does not allow this method on the requested resource",
                ));
            }
        }
        Ok(encode(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})))
    }
}

/// What stands behind the objects of a list.
pub(crate) const LIST_TAIL: &[u8] = b"]}";

impl Page {
    /// The list as JSON: the objects' bytes between a head and a tail.
    pub(crate) fn encode(&self, resource: &Resource) -> Bytes {
        let head = self.head(resource);
        let size: usize = self.entries.iter().map(|(_, entry)| entry.json.len() + 1).sum();
        let mut out = Vec::with_capacity(head.len() + size + 2);
        out.extend_from_slice(head.as_bytes());
        for (index, (_, entry)) in self.entries.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&entry.json);
        }
        out.extend_from_slice(LIST_TAIL);
        Bytes::from(out)
    }

    /// The list's own metadata.
    pub(crate) fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if let Some(map) = metadata.as_object_mut().filter(|_| !self.continue_token.is_empty()) {
            map.insert("continue".into(), self.continue_token.clone().into());
            if let Some(remaining) = self.remaining {
                map.insert("remainingItemCount".into(), remaining.into());
            }
        }
        metadata
    }

    /// What stands before the objects.
    pub(crate) fn head(&self, resource: &Resource) -> String {
        let metadata = self.metadata();
        format!(
            "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
            resource.kind,
            resource.api_version()
        )
    }
}

impl Deleted {
    /// The answer to a deletion, as Kubernetes gives it.
    pub(crate) fn encode(self, target: &Target) -> Bytes {
        match self {
            Self::Marked(json) => json,
            Self::Gone(uid) => {
                let details = json!({
                    "name": target.key.name, "group": target.resource.group, "kind": target.resource.plural, "uid": uid,
                });
                encode(
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
                )
            }
        }
    }
}

const fn verb_word(verb: &Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::List(_) => "list",
        Verb::Create(_) => "create",
        Verb::Update(_) => "update",
        Verb::Patch(..) => "patch",
        Verb::Delete(_) => "delete",
        Verb::DeleteCollection(..) => "deletecollection",
    }
}

fn parse(body: &Bytes) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|e| Error::new(Reason::BadRequest, format!("the body is no JSON: {e}")))
}

#[expect(clippy::needless_pass_by_value, reason = "used as the last step of a chain")]
fn encode(value: Value) -> Bytes {
    Bytes::from(value.to_string())
}
