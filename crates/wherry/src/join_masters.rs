//! How a machine becomes one of several masters: by a token of its own kind it is given the keys that all masters share, begins
//! with an empty store, and asks the leader to admit it. What it is given is kept, so that its next start needs neither token
//! nor another master; what was interrupted can be done again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wherry_api::routes::{KEYS, MASTERS};
use wherry_base::Backoff;
use wherry_client::{Https, refusal};
use wherry_pki::{Authority, JoinToken, PinnedAuthority};
use wherry_store::{Member, Store};

use crate::cluster_info::ClusterInfo;
use crate::config::{CommonArgs, MasterJoinFlags};
use crate::credentials::{AUTHORITY_KEY, Credentials};
use crate::data_dir::{DataDir, Role};
use crate::join;

const PLACE: &str = "master/cluster.json";
const JSON: &str = "application/json";
/// How often it is asked to be admitted while the masters cannot decide, and the first and the longest wait in between.
const ASKED_MAX: u32 = 20;
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What all masters of a cluster share.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shared {
    /// As PEM.
    authority_key: String,
    info: ClusterInfo,
}

/// What a master keeps of the cluster that it has joined.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// What the cluster agrees on.
    pub info: ClusterInfo,
    /// Whether the other masters know it as one of them.
    pub is_member: bool,
}

impl Shared {
    /// Those of this cluster.
    pub fn new(authority: &Authority, info: ClusterInfo) -> Self {
        Self { authority_key: authority.key(), info }
    }

    /// As they are told to a master that joins.
    pub fn encode(&self) -> anyhow::Result<Bytes> {
        Ok(serde_json::to_vec(self)?.into())
    }
}

impl Place {
    fn read(data: &DataDir) -> anyhow::Result<Option<Self>> {
        let text = data.read(PLACE)?;
        text.map(|text| serde_json::from_str(&text).context("DATA/master/cluster.json")).transpose()
    }

    fn write(&self, data: &DataDir) -> anyhow::Result<()> {
        Ok(data.write(PLACE, &serde_json::to_string(self)?)?)
    }
}

/// Finds this master's place among others: the one that it had, or, where the flags say so, a new one. None where it founds a
/// cluster, or has founded one.
pub async fn enter(
    flags: &MasterJoinFlags,
    args: &CommonArgs,
    data: &DataDir,
    now: Timestamp,
) -> anyhow::Result<Option<Place>> {
    let (known, has_key) = (Place::read(data)?, data.read(AUTHORITY_KEY)?.is_some());
    let place = match (known, &flags.join) {
        (Some(place), _) if has_key => place,
        (None, Some(_)) if has_key => {
            bail!("the data directory holds a cluster of its own; join with another --data-dir")
        }
        (_, Some(url)) => {
            let token = flags.token.as_ref();
            let token = token.context("--join needs --token: what `wherry token create --master` prints")?;
            let Shared { authority_key, info } = shared(url, token, args, now).await?;
            let place = Place { info, is_member: false };
            // The key last: where there is one, nothing more is asked for.
            place.write(data)?;
            data.write(AUTHORITY_KEY, &authority_key)?;
            place
        }
        (Some(_), None) => bail!("this master has not joined its cluster yet; start it with --join and --token"),
        (None, None) => return Ok(None),
    };
    place.info.check(args)?;
    Ok(Some(place))
}

/// Asks for the keys, of a server that is believed by the hash in the token.
async fn shared(url: &str, token: &JoinToken, args: &CommonArgs, now: Timestamp) -> anyhow::Result<Shared> {
    let pinned = PinnedAuthority::new(token.authority);
    let https = Https::with_tls(&[url], pinned.client_config())?.bearer(&token.bearer());
    let greeted = join::greet(&https, now).await.and_then(|release| check_release(&release));
    greeted.map_err(|error| join::explain(error, &pinned, url))?;
    let (status, _, body) = https.call(Method::GET, &format!("{MASTERS}{KEYS}"), JSON, None, Bytes::new()).await?;
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => bail!(
            "the cluster does not know the token; it may have expired, or been deleted: make one with `wherry token create --master`"
        ),
        StatusCode::FORBIDDEN => {
            bail!("the token is for nodes; a master joins with one that `wherry token create --master` made")
        }
        _ => bail!("the cluster gives its keys to no master now: {}", refusal(status, &body)),
    }
    let shared: Shared = serde_json::from_slice(&body).context("the cluster's keys cannot be read")?;
    shared.info.check(args)?;
    Ok(shared)
}

/// Masters speak to each other in a form of their own, which only their release knows.
fn check_release(theirs: &str) -> anyhow::Result<()> {
    let own = wherry_agent::VERSION;
    ensure!(
        own == theirs,
        "this master's release {own} is not that of the cluster's masters, {theirs}: join with the same one"
    );
    Ok(())
}

/// Has the leader admit this master, whose store and API run, and keeps that it is one.
pub async fn admit(
    mut place: Place,
    flags: &MasterJoinFlags,
    member: &Member,
    credentials: &Credentials,
    data: &DataDir,
) -> anyhow::Result<()> {
    let url = flags.join.as_deref();
    let url = url.context("this master has not joined its cluster yet; start it again with --join")?;
    let https = Https::with_tls(&[url], Arc::unwrap_or_clone(credentials.peer_client()?))?;
    let Member { id, name, address } = member;
    let admission = json!({"id": id, "name": name, "address": address, "replaces": flags.replace});
    ask(&https, admission.to_string().into()).await.context("the masters do not admit this one")?;
    place.is_member = true;
    place.write(data)
}

async fn ask(https: &Https, admission: Bytes) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(ASK_AGAIN.0, ASK_AGAIN.1);
    let mut why = String::new();
    for _ in 0..ASKED_MAX {
        match https.call(Method::POST, MASTERS, JSON, Some(JSON), admission.clone()).await {
            Ok((status, _, _)) if status.is_success() => return Ok(()),
            Ok((status, _, body)) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                why = refusal(status, &body).to_string();
            }
            Ok((status, _, body)) => bail!(refusal(status, &body)),
            Err(error) => why = error.to_string(),
        }
        tracing::warn!(why, "the masters do not admit this one yet; asking again");
        tokio::time::sleep(backoff.fail()).await;
    }
    bail!("{why}; start it again to ask again")
}

/// Makes the master of a data directory the whole cluster.
pub fn restore_alone(path: &Path) -> anyhow::Result<()> {
    let data = DataDir::open(path, &[Role::Master])?;
    let id = Store::restore_alone(&data.join("store"))?;
    eprintln!("the master in {} is the whole cluster now, under the new id {id}; start it as before", path.display());
    eprintln!("the other masters' data must not be used again: remove it, and let them join anew");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_of_one_release() {
        assert!(check_release(wherry_agent::VERSION).is_ok());
        let refused = check_release("v1.36.0+wherry-9.9.9").unwrap_err().to_string();
        assert!(refused.contains("is not that of the cluster's masters, v1.36.0+wherry-9.9.9"), "{refused}");
    }
}
