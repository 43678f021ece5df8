//! The records of all repositories, as the masters agree on them: a ConfigMap each, in `kube-system`.
//!
//! They are read and written through the API like any object: replicated, consistent, and visible. A repository's name is no
//! name of an object's, so it is an annotation, and the ConfigMap is called by its hash. A repository is as large as an
//! object may be: some 5,000 tags.

use std::collections::BTreeMap;

use wherry_api::kinds::{ConfigMap, ObjectMeta};
use wherry_api::{Error as ApiError, Reason};
use wherry_base::Drain;
use wherry_client::{Api, Client, DeleteOptions, Informer, ListOptions, Precondition};

use crate::record::Record;
use crate::{Digest, Error, RepositoryName};

const NAMESPACE: &str = "kube-system";
/// The label of all of them.
const LABEL: (&str, &str) = ("wherry.dev/images", "repository");
const REPOSITORY: &str = "wherry.dev/repository";
/// How often a change is tried that others are faster than.
const TRIES_MAX: usize = 32;
/// How much of the hash of a repository's name is in the name of its ConfigMap.
const HASH_DIGITS: usize = 40;

/// All repositories' records.
#[derive(Clone)]
pub(crate) struct Records {
    maps: Api<ConfigMap>,
}

impl Records {
    pub(crate) fn new(client: &Client) -> Self {
        Self { maps: client.namespaced(NAMESPACE) }
    }

    /// The record of a repository; empty where there is none.
    pub(crate) async fn get(&self, repository: &RepositoryName) -> Result<Record, Error> {
        Ok(self.read(repository).await?.map(|map| record(&map)).unwrap_or_default())
    }

    /// All records.
    pub(crate) async fn all(&self) -> Result<BTreeMap<RepositoryName, Record>, Error> {
        let labels = format!("{}={}", LABEL.0, LABEL.1);
        let list = self.maps.list(ListOptions { labels, ..ListOptions::default() }).await?;
        Ok(list.items.iter().filter_map(|map| Some((repository(map)?, record(map)))).collect())
    }

    /// Changes the record of a repository; a record that becomes empty goes. `change` is called anew where another change
    /// was faster.
    pub(crate) async fn change<T>(
        &self,
        repository: &RepositoryName,
        change: impl Fn(&mut Record) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..TRIES_MAX {
            let present = self.read(repository).await?;
            let before = present.as_ref().map(record).unwrap_or_default();
            let mut after = before.clone();
            let outcome = change(&mut after)?;
            if after == before {
                return Ok(outcome);
            }
            match self.write(repository, present, &after).await {
                Err(error) if matches!(error.reason, Reason::Conflict | Reason::AlreadyExists | Reason::NotFound) => {}
                written => return Ok(written.map(|()| outcome)?),
            }
        }
        Err(ApiError::new(Reason::Conflict, format!("the repository {repository} is being changed by others")).into())
    }

    /// A picture of them that follows their changes.
    pub(crate) fn follow(&self, drain: &Drain) -> Informer<std::sync::Arc<ConfigMap>> {
        Informer::spawn(self.maps.clone(), &format!("{}={}", LABEL.0, LABEL.1), "", drain)
    }

    async fn read(&self, repository: &RepositoryName) -> Result<Option<ConfigMap>, ApiError> {
        match self.maps.get(&name_of(repository)).await {
            Ok(map) => Ok(Some(map)),
            Err(error) if error.reason == Reason::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(
        &self,
        repository: &RepositoryName,
        present: Option<ConfigMap>,
        record: &Record,
    ) -> Result<(), ApiError> {
        let data = Some(record.data()).filter(|data| !data.is_empty());
        match (present, data) {
            (None, None) => Ok(()),
            (None, data) => self.maps.create(&ConfigMap { data, ..empty(repository) }).await.map(drop),
            (Some(map), None) => {
                let resource_version = map.metadata.resource_version.unwrap_or_default();
                let precondition = Precondition { resource_version, ..Precondition::default() };
                self.maps.delete(&name_of(repository), DeleteOptions { precondition, ..DeleteOptions::default() }).await
            }
            (Some(map), data) => self.maps.update(&ConfigMap { data, ..map }).await.map(drop),
        }
    }
}

/// What a ConfigMap says of its repository.
pub(crate) fn record(map: &ConfigMap) -> Record {
    map.data.as_ref().map(Record::parse).unwrap_or_default()
}

fn repository(map: &ConfigMap) -> Option<RepositoryName> {
    map.metadata.annotations.as_ref()?.get(REPOSITORY)?.parse().ok()
}

fn name_of(repository: &RepositoryName) -> String {
    let hash = Digest::of(repository.as_str().as_bytes());
    format!("images-{}", hash.hex().get(..HASH_DIGITS).unwrap_or_default())
}

fn empty(repository: &RepositoryName) -> ConfigMap {
    let pair = |(key, value): (&str, &str)| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let metadata = ObjectMeta {
        name: Some(name_of(repository)),
        labels: Some(pair(LABEL)),
        annotations: Some(pair((REPOSITORY, repository.as_str()))),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, ..ConfigMap::default() }
}
