//! What a master and the others know of each other, for as long as it runs: where it is, and whether it is one of them at all. One
//! that was removed does not hear of it from the log, in which it has no part any more; so each asks now and then.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use http::{Method, StatusCode};
use serde_json::json;
use wherry_api::routes::MASTERS;
use wherry_client::{Https, refusal};
use wherry_store::{Leadership, Member, Role, Store};

use crate::credentials::Credentials;

/// How often the others are asked, and how soon again where they do not know where this master is.
const ASK_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));
const JSON: &str = "application/json";

/// What the leader says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It is a member, and where it says that it is.
    Known,
    /// It is none any more.
    Removed,
}

/// Has the leader know where this master is now: else nobody would reach it. Resolves when this is no member any more. The
/// leader's own address is known (see [`Store::open_member`]).
pub async fn keep(store: Store, credentials: Arc<Credentials>) {
    let (me, mut members, mut leadership) = (store.me(), store.members(), store.leadership());
    let mut https = None;
    loop {
        let known = members.borrow_and_update().clone();
        let is_leader = *leadership.borrow_and_update() == Leadership::Leader;
        let is_outdated = known.iter().any(|(member, _)| member.id == me.id && *member != me);
        let others = others(&known, &me);
        let mut rest = ASK_EVERY.0;
        if !others.is_empty() && !is_leader {
            match ask(&mut https, &others, &me, &credentials).await {
                Ok(Answer::Removed) => return,
                Ok(Answer::Known) if is_outdated => {
                    tracing::info!(me.address, "the others know where this master is now")
                }
                Ok(Answer::Known) => {}
                Err(error) => {
                    tracing::debug!(
                        error = format!("{error:#}"),
                        is_outdated,
                        "the masters were not asked about this one"
                    );
                    rest = if is_outdated { ASK_EVERY.1 } else { rest };
                }
            }
        }
        tokio::select! {
            Ok(()) = members.changed() => {}
            Ok(()) = leadership.changed() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

fn others(known: &[(Member, Role)], me: &Member) -> Vec<String> {
    let others = known.iter().filter(|(member, _)| member.id != me.id);
    others.map(|(member, _)| format!("https://{}", member.address)).collect()
}

/// Tells the leader, by way of any other master, where this one is.
async fn ask(
    https: &mut Option<Https>,
    others: &[String],
    me: &Member,
    credentials: &Credentials,
) -> anyhow::Result<Answer> {
    let https = match https {
        Some(https) => {
            https.set_servers(others)?;
            https
        }
        None => https.insert(Https::with_tls(others, Arc::unwrap_or_clone(credentials.peer_client()?))?),
    };
    let Member { id, name, address } = me;
    let here = json!({"id": id, "name": name, "address": address, "moves": true}).to_string();
    match https.call(Method::POST, MASTERS, JSON, Some(JSON), here.into()).await? {
        (StatusCode::NOT_FOUND, ..) => Ok(Answer::Removed),
        (status, ..) if status.is_success() => Ok(Answer::Known),
        (status, _, body) => bail!(refusal(status, &body)),
    }
}
