//! Objects of any kind by name, below the types of kinds: what the generic verbs stand on.

use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use wherry_api::{Error, RESOURCES, Reason, Resource};
use wherry_client::{
    Client, DeleteOptions, EventKind, ListOptions, PatchKind, RawEvent, Request, Verb, WatchOptions, resumed,
};

/// A resource and perhaps a name, as a person types them.
#[derive(Clone, Debug)]
pub struct Target {
    /// The resource.
    pub resource: &'static Resource,
    /// The name, if one is given.
    pub name: Option<String>,
}

/// Reads `pods`, `pods NAME NAME`, `pod/NAME deploy/NAME`, `pods,svc`.
pub fn targets(words: &[String]) -> anyhow::Result<Vec<Target>> {
    if words.iter().any(|word| word.contains('/')) {
        return words.iter().map(|word| slashed(word)).collect();
    }
    let Some((kinds, names)) = words.split_first() else { bail!("name a resource, such as `pods`") };
    let resources = kinds.split(',').map(resource).collect::<anyhow::Result<Vec<_>>>()?;
    let each = |resource: Vec<&'static Resource>| {
        resource.into_iter().flat_map(|resource| {
            if names.is_empty() {
                return vec![Target { resource, name: None }];
            }
            names.iter().map(|name| Target { resource, name: Some(name.clone()) }).collect()
        })
    };
    Ok(each(resources.concat()).collect())
}

/// Exactly one object.
pub fn one_target(words: &[String]) -> anyhow::Result<(&'static Resource, String)> {
    match targets(words)?.as_slice() {
        [Target { resource, name: Some(name) }] => Ok((resource, name.clone())),
        _ => bail!("name one object, as RESOURCE NAME or RESOURCE/NAME"),
    }
}

fn slashed(word: &str) -> anyhow::Result<Target> {
    let (kind, name) = word.split_once('/').with_context(|| format!("\"{word}\" is not RESOURCE/NAME"))?;
    Ok(Target { resource: one_resource(kind)?, name: Some(name.to_owned()) })
}

/// Exactly one resource.
pub fn one_resource(word: &str) -> anyhow::Result<&'static Resource> {
    match resource(word)?.as_slice() {
        [resource] => Ok(resource),
        _ => bail!("\"{word}\" stands for several resources; name one"),
    }
}

/// The resources of a plural, singular, kind, short name, or category.
fn resource(word: &str) -> anyhow::Result<Vec<&'static Resource>> {
    let lower = word.to_lowercase();
    let named = |r: &&Resource| {
        r.plural == lower || r.singular == lower || r.qualified() == lower || r.short_names.contains(&lower.as_str())
    };
    if let Some(found) = RESOURCES.iter().find(named) {
        return Ok(vec![found]);
    }
    let category: Vec<_> = RESOURCES.iter().filter(|r| r.categories.contains(&lower.as_str())).collect();
    if category.is_empty() {
        bail!("the server doesn't have a resource type \"{word}\"; it has {}", known());
    }
    Ok(category)
}

fn known() -> String {
    RESOURCES.iter().map(|r| r.plural).collect::<Vec<_>>().join(", ")
}

/// Which objects a verb is about: named ones, or all that are selected.
pub async fn select(
    client: &Client,
    words: &[String],
    namespace: Option<&str>,
    options: &ListOptions,
) -> anyhow::Result<Vec<(&'static Resource, Value)>> {
    let mut found = Vec::new();
    for Target { resource, name } in targets(words)? {
        let objects = Objects::new(client, resource, namespace);
        match name {
            Some(name) => {
                let shown = format!("{}/{name}", singular(resource));
                found.push((resource, objects.get(&name).await.with_context(|| format!("cannot read {shown}"))?));
            }
            None => found.extend(objects.list(options.clone()).await?.into_iter().map(|object| (resource, object))),
        }
    }
    Ok(found)
}

/// `deployment.apps`.
pub fn singular(resource: &Resource) -> String {
    if resource.group.is_empty() {
        resource.singular.to_owned()
    } else {
        format!("{}.{}", resource.singular, resource.group)
    }
}

/// `deployment.apps/web`.
pub fn shown(resource: &Resource, object: &Value) -> String {
    format!("{}/{}", singular(resource), text(object, "/metadata/name"))
}

/// Objects of one resource, in a namespace or over all.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    resource: &'static Resource,
    namespace: Option<String>,
}

impl Objects {
    /// The objects of `resource`; `namespace` counts only where the resource has namespaces.
    pub fn new(client: &Client, resource: &'static Resource, namespace: Option<&str>) -> Self {
        let namespace = namespace.filter(|_| resource.namespaced).map(str::to_owned);
        Self { client: client.clone(), resource, namespace }
    }

    /// Reads one.
    pub async fn get(&self, name: &str) -> Result<Value, Error> {
        self.send(name, "", Verb::Get).await
    }

    /// Reads many.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<Value>, Error> {
        self.list_at(options).await.map(|(items, _)| items)
    }

    /// Reads many, and the revision from which a watch goes on.
    pub async fn list_at(&self, options: ListOptions) -> Result<(Vec<Value>, String), Error> {
        let mut list = self.send("", "", Verb::List(options)).await?;
        let revision = text(&list, "/metadata/resourceVersion").to_owned();
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok((items.into_iter().map(|item| self.typed(item)).collect(), revision)),
            _ => Ok((Vec::new(), revision)),
        }
    }

    /// What changes after a revision; whichever server it comes from.
    pub fn watch(&self, options: WatchOptions) -> BoxStream<'static, Result<(EventKind, Value), Error>> {
        let transport = Arc::clone(self.client.transport());
        let events = resumed(transport, self.resource, self.namespace.clone(), options);
        let decode = |event: RawEvent| Ok((event.kind, decode(&event.object)?));
        let events = events.map(move |event| event.and_then(decode));
        events.filter(|event| std::future::ready(!matches!(event, Ok((EventKind::Bookmark, _))))).boxed()
    }

    /// Follows one object until `met` says so of it, or of its absence; its last state.
    pub async fn until(&self, name: &str, met: impl Fn(Option<&Value>) -> bool) -> Result<Option<Value>, Error> {
        let fields = format!("metadata.name={name}");
        loop {
            let options = ListOptions { fields: fields.clone(), ..ListOptions::default() };
            let (items, resource_version) = self.list_at(options).await?;
            let present = items.into_iter().next();
            if met(present.as_ref()) {
                return Ok(present);
            }
            let options = WatchOptions { fields: fields.clone(), resource_version, ..WatchOptions::default() };
            let mut events = self.watch(options);
            while let Some(event) = events.next().await {
                match event {
                    Ok((kind, object)) => {
                        let present = Some(object).filter(|_| kind != EventKind::Deleted);
                        if met(present.as_ref()) {
                            return Ok(present);
                        }
                    }
                    // Too old to go on from: look again.
                    Err(error) if error.reason == Reason::Expired => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Creates one.
    pub async fn create(&self, object: &Value) -> Result<Value, Error> {
        self.send("", "", Verb::Create(encode(object))).await
    }

    /// Changes one by RFC 7386.
    pub async fn merge(&self, name: &str, subresource: &'static str, patch: &Value) -> Result<Value, Error> {
        self.send(name, subresource, Verb::Patch(PatchKind::Merge, encode(patch))).await
    }

    /// Changes one by a patch of a kind.
    pub async fn patch(&self, name: &str, kind: PatchKind, patch: &Value) -> Result<Value, Error> {
        self.send(name, "", Verb::Patch(kind, encode(patch))).await
    }

    /// Deletes one.
    pub async fn delete(&self, name: &str, options: DeleteOptions) -> Result<(), Error> {
        self.send(name, "", Verb::Delete(options)).await.map(drop)
    }

    async fn send(&self, name: &str, subresource: &'static str, verb: Verb) -> Result<Value, Error> {
        let request = Request {
            resource: self.resource,
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            subresource,
            verb,
        };
        let bytes = self.client.transport().send(request).await?;
        decode(&bytes)
    }

    /// Items of a list carry no type of their own.
    fn typed(&self, mut item: Value) -> Value {
        if let Some(map) = item.as_object_mut() {
            map.insert("apiVersion".into(), self.resource.api_version().into());
            map.insert("kind".into(), self.resource.kind.into());
        }
        item
    }
}

/// A string deep in an object; empty where it is missing.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn decode(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::new(Reason::InternalError, format!("unreadable answer: {e}")))
}

fn encode(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> String {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        match targets(&words) {
            Ok(found) => {
                let show = |t: &Target| format!("{:?}/{}", t.resource, t.name.clone().unwrap_or_default());
                found.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            Err(e) => e.to_string().chars().take(40).collect(),
        }
    }

    #[test]
    fn words_become_targets() {
        for (words, expected) in [
            ("po", "pods/"),
            ("Deployment web", "deployments.apps/web"),
            ("po/a deploy/b", "pods/a deployments.apps/b"),
            ("pods a b", "pods/a pods/b"),
            ("all", "pods/ services/ deployments.apps/ replicasets.apps/"),
            ("svc,ep", "services/ endpoints/"),
            ("frob", "the server doesn't have a resource type "),
            ("all/x", "\"all\" stands for several resources; name"),
        ] {
            assert_eq!(read(words), expected, "{words}");
        }
    }
}
