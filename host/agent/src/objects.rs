//! ConfigMaps and Secrets that a pod names, fetched once for each use. Holds nothing between uses.

use std::collections::BTreeMap;

use wherry_api::kinds::{ConfigMap, Secret};
use wherry_api::{Error, Kind, Reason, References};
use wherry_client::Client;

use crate::tokens::Wanted;

/// Those that there are.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Tokens of the pod's service account.
    pub tokens: BTreeMap<Wanted, String>,
}

/// Fetches what is named; what does not exist is left out.
pub async fn fetch(client: &Client, namespace: &str, names: &References) -> Result<Found, Error> {
    let mut found = Found::default();
    for name in &names.config_maps {
        found.config_maps.extend(one(client, namespace, name).await?.map(|object| (name.clone(), object)));
    }
    for name in &names.secrets {
        found.secrets.extend(one(client, namespace, name).await?.map(|object| (name.clone(), object)));
    }
    Ok(found)
}

async fn one<K: Kind>(client: &Client, namespace: &str, name: &str) -> Result<Option<K>, Error> {
    match client.namespaced::<K>(namespace).get(name).await {
        Err(error) if error.reason == Reason::NotFound => Ok(None),
        got => got.map(Some),
    }
}
