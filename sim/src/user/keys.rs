//! Writes and reads keys, which are `ConfigMap`s, and keeps account of every answer.

use std::collections::BTreeMap;
use std::time::Duration;

use wherry_api::kinds::{ConfigMap, ObjectMeta};
use wherry_api::{Error, Reason};
use wherry_client::{Api, DeleteOptions, ListOptions, Precondition};

use super::Person;
use crate::history::{Answer, Ask, Revision};
use crate::net::up_to;

/// Where the keys are.
pub const NAMESPACE: &str = "default";

const KEYS: [&str; 5] = ["key-0", "key-1", "key-2", "key-3", "key-4"];
const VALUE: &str = "value";
const REST_MOST: Duration = Duration::from_millis(400);

/// Whether a `ConfigMap` of that name is one of the keys.
pub fn is_key(name: &str) -> bool {
    KEYS.contains(&name)
}

/// A key's value.
pub fn value(map: &ConfigMap) -> String {
    map.data.as_ref().and_then(|data| data.get(VALUE)).cloned().unwrap_or_default()
}

pub fn revision(metadata: &ObjectMeta) -> Revision {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Asks one thing after the other.
pub async fn write(person: Person) {
    let api = person.client.namespaced::<ConfigMap>(NAMESPACE);
    // What it saw last of each key.
    let mut known: BTreeMap<&str, Revision> = BTreeMap::new();
    for count in 0.. {
        tokio::time::sleep(up_to(&person.rng, REST_MOST)).await;
        let Some(key) = KEYS.get(person.rng.below(KEYS.len())) else { continue };
        let ask = choose(&person, key, known.get(key).copied(), count);
        let answer = person.ask(&api, ask.clone()).await;
        match (&ask, &answer) {
            (_, Answer::Wrote(revision) | Answer::Saw(Some((revision, _)))) => _ = known.insert(key, *revision),
            (_, Answer::Deleted | Answer::Saw(None)) => _ = known.remove(key),
            _ => {}
        }
    }
}

fn choose(person: &Person, key: &str, known: Option<Revision>, count: usize) -> Ask {
    let key = key.to_owned();
    match (person.rng.below(10), known) {
        (0..5, expect) => Ask::Put { key, value: format!("{}-{count}", person.number), expect },
        (5, Some(expect)) => Ask::Delete { key, expect },
        (6, _) => Ask::List,
        _ => Ask::Get { key },
    }
}

impl Person {
    /// Asks, and keeps account of it.
    pub async fn ask(&self, api: &Api<ConfigMap>, ask: Ask) -> Answer {
        let begun = self.recorder.begin(self.number, self.port.times.now(), ask.clone());
        let answer = carry_out(api, ask.clone()).await.unwrap_or_else(|error| failed(&ask, &error));
        self.recorder.end(&begun, self.port.times.now(), answer.clone());
        answer
    }
}

async fn carry_out(api: &Api<ConfigMap>, ask: Ask) -> Result<Answer, Error> {
    let map = |key: &str, value: String, expect: Option<Revision>| ConfigMap {
        metadata: ObjectMeta {
            name: Some(key.to_owned()),
            resource_version: expect.map(|revision| revision.to_string()),
            ..ObjectMeta::default()
        },
        data: Some([(VALUE.to_owned(), value)].into()),
        ..ConfigMap::default()
    };
    Ok(match ask {
        Ask::Put { key, value, expect: None } => {
            Answer::Wrote(revision(&api.create(&map(&key, value, None)).await?.metadata))
        }
        Ask::Put { key, value, expect } => {
            Answer::Wrote(revision(&api.update(&map(&key, value, expect)).await?.metadata))
        }
        Ask::Delete { key, expect } => {
            let precondition = Precondition { resource_version: expect.to_string(), ..Precondition::default() };
            api.delete(&key, DeleteOptions { precondition, ..DeleteOptions::default() }).await?;
            Answer::Deleted
        }
        Ask::Get { key } => match api.get(&key).await {
            Err(error) if error.reason == Reason::NotFound => Answer::Saw(None),
            map => Answer::Saw(Some(map.map(|map| (revision(&map.metadata), value(&map)))?)),
        },
        Ask::List => {
            let list = api.list(ListOptions::default()).await?;
            let named = |map: ConfigMap| Some((map.metadata.name.clone()?, (revision(&map.metadata), value(&map))));
            let keys = list.items.into_iter().filter_map(named).filter(|(name, _)| is_key(name));
            Answer::Listed(list.resource_version.parse().unwrap_or_default(), keys.collect())
        }
    })
}

/// An error that says what stands in the way is an answer; any other may hide what became of it.
fn failed(ask: &Ask, error: &Error) -> Answer {
    match (error.reason, ask) {
        // There is no namespace yet.
        (Reason::NotFound, Ask::Put { expect: None, .. }) => Answer::Unknown,
        (Reason::Conflict | Reason::AlreadyExists | Reason::NotFound, _) => Answer::Refused,
        _ => Answer::Unknown,
    }
}
