//! What masters say to each other, and what administrators say about them, under `/wherry/v1/masters`.
//!
//! The log's messages (from masters only), the keys that all masters share (for who has a token to join as a master), and the
//! members: listed and removed by administrators, admitted at the request of a master that has the keys.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::{Value, json};
use wherry_api::routes::{KEYS, MASTERS, MESSAGES};
use wherry_api::well_known::MASTER_BOOTSTRAPPERS;
use wherry_api::{Error, Reason};
use wherry_store::{Leadership, MESSAGE_BYTES_MAX, Member, MemberError, Role};

use super::relay::{Asked, at_leader};
use super::{Context, body, path, text, verbs};
use crate::authorize::administer;
use crate::masters::Asker;

/// How long a message may take to arrive.
const ARRIVAL_MOST: Duration = Duration::from_secs(30);

/// Whom to admit.
#[derive(Clone, Debug, Deserialize)]
struct Admission {
    #[serde(flatten)]
    member: Member,
    /// The name of the master in whose place it comes; empty for none.
    #[serde(default)]
    replaces: String,
    /// It is a member already, which may have another name or address now.
    #[serde(default)]
    moves: bool,
}

/// What is asked below [`MASTERS`].
pub(super) fn named(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(MASTERS)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Answers a message of another master's; it waits for nothing but its own arrival.
pub(super) async fn message(context: &Context, asker: &Asker, request: Request) -> Result<Response, Error> {
    if !asker.identity.is_master() || asker.stays {
        return Err(forbidden(asker, "send messages to masters"));
    }
    let _place = context.messages.acquire().await.map_err(|e| Error::new(Reason::ServiceUnavailable, e.to_string()))?;
    let whole = Limited::new(request.into_body(), MESSAGE_BYTES_MAX).collect();
    let whole = tokio::time::timeout(ARRIVAL_MOST, whole).await;
    let whole = whole.map_err(|_| Error::new(Reason::Timeout, "the message did not arrive in time"))?;
    let whole = whole.map_err(|error| Error::new(Reason::BadRequest, error.to_string()))?;
    let answer = context.registry.store().receive(whole.to_bytes()).await;
    Ok(text(StatusCode::OK, "application/octet-stream", Body::from(answer)))
}

/// Whether what is asked is a message.
pub(super) fn is_message(rest: &str) -> bool {
    rest == MESSAGES
}

/// Answers all else.
pub(super) async fn answer(context: &Context, asker: &Asker, request: Request) -> Result<Response, Error> {
    let (parts, sent) = request.into_parts();
    let rest = named(parts.uri.path()).unwrap_or_default().to_owned();
    let sent = body::read(context, sent).await?;
    let asked = Asked { parts: &parts, body: &sent.bytes, is_watch: false };
    match (&parts.method, rest.as_str()) {
        (&Method::GET, KEYS) => keys(context, asker),
        (&Method::GET, "") => list(context, asker),
        (&Method::POST, "") => {
            let admission = admission(asker, &sent.bytes)?;
            at_leader(context, asker, &asked, || admit(context, &admission)).await
        }
        (&Method::DELETE, name) if !name.is_empty() => {
            administer(&asker.identity, "masters")?;
            let name = path::unescape(name.trim_start_matches('/'));
            let name = name.as_str();
            at_leader(context, asker, &asked, move || remove(context, name)).await
        }
        _ => Err(verbs::not_allowed()),
    }
}

/// The keys that all masters share.
fn keys(context: &Context, asker: &Asker) -> Result<Response, Error> {
    if !asker.identity.is_in(MASTER_BOOTSTRAPPERS) || asker.stays {
        return Err(forbidden(asker, "read the keys of the cluster"));
    }
    tracing::info!(user = asker.identity.user, "the cluster's keys were given to a master that joins");
    Ok(text(StatusCode::OK, "application/json", Body::from(context.master_keys.clone())))
}

fn list(context: &Context, asker: &Asker) -> Result<Response, Error> {
    administer(&asker.identity, "masters")?;
    let store = context.registry.store();
    let leader = match &*store.leadership().borrow() {
        Leadership::Leader => Some(store.me().id),
        Leadership::Follower { leader } => leader.as_ref().map(|leader| leader.id),
        Leadership::Isolated => None,
    };
    let (mut members, lags) = (store.members().borrow().clone(), store.lags());
    members.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let row = |(member, role): &(Member, Role)| row(member, *role, leader, lags.get(&member.id).copied());
    let masters: Vec<Value> = members.iter().map(row).collect();
    Ok(text(StatusCode::OK, "application/json", json!({"masters": masters}).to_string()))
}

fn row(member: &Member, role: Role, leader: Option<u64>, behind: Option<u64>) -> Value {
    let role = match role {
        _ if leader == Some(member.id) => "leader",
        Role::Voter => "voter",
        Role::Learner => "learner",
    };
    json!({"id": member.id, "name": member.name, "address": member.address, "role": role, "behind": behind})
}

fn admission(asker: &Asker, sent: &[u8]) -> Result<Admission, Error> {
    if !asker.identity.is_master() {
        return Err(forbidden(asker, "become a master"));
    }
    serde_json::from_slice(sent).map_err(|error| Error::new(Reason::BadRequest, error.to_string()))
}

async fn admit(context: &Context, admission: &Admission) -> Result<Response, Error> {
    let store = context.registry.store();
    let members = store.members().borrow().clone();
    let replaced = check(&members, admission)?;
    if admission.moves && members.iter().any(|(member, _)| *member == admission.member) {
        return done();
    }
    let member = admission.member.clone();
    let outcome = match replaced {
        Some(id) => store.replace_member(id, member).await,
        None => store.add_member(member).await,
    };
    outcome.map_err(|error| refused(&error))?;
    done()
}

/// Sees that a master can be admitted; the id of the one that it replaces.
fn check(members: &[(Member, Role)], admission: &Admission) -> Result<Option<u64>, Error> {
    let Admission { member, replaces, moves } = admission;
    if *moves && !members.iter().any(|(other, _)| other.id == member.id) {
        let message = format!("the master \"{}\" is no member any more", member.name);
        return Err(Error::new(Reason::NotFound, message));
    }
    let others = || members.iter().map(|(other, _)| other).filter(|other| other.id != member.id);
    let is_member = members.iter().any(|(other, role)| other.id == member.id && *role == Role::Voter);
    let replaced = others().find(|other| !replaces.is_empty() && other.name == *replaces);
    if !replaces.is_empty() && replaced.is_none() && !is_member {
        return Err(unknown(replaces));
    }
    let mut rest = others().filter(|other| replaced.is_none_or(|replaced| replaced.id != other.id));
    match rest.find(|other| other.name == member.name || other.address == member.address) {
        Some(other) if other.name == member.name => Err(conflict(format!(
            "a master named \"{0}\" is a member already; choose another --name, or take its place with --replace {0}",
            other.name
        ))),
        Some(other) => Err(conflict(format!(
            "the master \"{0}\" is a member already, at the same address {1}; take its place with --replace {0}",
            other.name, other.address
        ))),
        None => Ok(replaced.map(|replaced| replaced.id)),
    }
}

async fn remove(context: &Context, name: &str) -> Result<Response, Error> {
    let store = context.registry.store();
    let is_it = |member: &Member| member.name == name || member.id.to_string() == name;
    let id = store.members().borrow().iter().find(|(member, _)| is_it(member)).map(|(member, _)| member.id);
    store.remove_member(id.ok_or_else(|| unknown(name))?).await.map_err(|error| refused(&error))?;
    done()
}

fn done() -> Result<Response, Error> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 200});
    Ok(text(StatusCode::OK, "application/json", Bytes::from(status.to_string())))
}

fn unknown(name: &str) -> Error {
    Error::new(Reason::NotFound, format!("there is no master named \"{name}\""))
}

fn conflict(message: String) -> Error {
    Error::new(Reason::Conflict, message)
}

fn forbidden(asker: &Asker, what: &str) -> Error {
    Error::new(Reason::Forbidden, format!("forbidden: User \"{}\" may not {what}", asker.identity.user))
}

fn refused(error: &MemberError) -> Error {
    match error {
        MemberError::NotLeader(_) => Error::undone(error.to_string()),
        MemberError::Unavailable(_) | MemberError::Behind { .. } => Error::new(Reason::Timeout, error.to_string()),
        MemberError::Unknown(_) => Error::new(Reason::NotFound, error.to_string()),
        MemberError::NoSeat | MemberError::Refused(_) => Error::new(Reason::InternalError, error.to_string()),
        MemberError::Last | MemberError::QuorumLost { .. } => conflict(error.to_string()),
        MemberError::Busy => Error::new(Reason::TooManyRequests, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str) -> Member {
        Member { id, name: name.into(), address: format!("{name}:1") }
    }

    #[test]
    fn names_and_addresses_are_given_once() {
        let members = [(member(1, "a"), Role::Voter), (member(2, "b"), Role::Voter)];
        let check = |member: Member, replaces: &str, expected: Result<Option<u64>, &str>| {
            let (moves, replaces) = (replaces == "moves", replaces.replace("moves", ""));
            let found = check(&members, &Admission { member, replaces, moves });
            match (found.map_err(|error| error.to_string()), expected) {
                (Ok(found), expected) => assert_eq!(Ok(found), expected),
                (Err(found), expected) => assert!(found.contains(expected.unwrap_err()), "{found}"),
            }
        };
        check(member(3, "c"), "", Ok(None));
        check(member(3, "a"), "", Err("a master named \"a\" is a member already"));
        check(Member { name: "c".into(), ..member(3, "a") }, "", Err("at the same address a:1"));
        check(member(3, "a"), "a", Ok(Some(1)));
        check(member(3, "a"), "b", Err("a master named \"a\""));
        check(member(3, "c"), "b", Ok(Some(2)));
        check(member(3, "c"), "x", Err("no master named \"x\""));
        // Asked again, after it was done.
        check(member(2, "b"), "", Ok(None));
        check(member(2, "b"), "z", Ok(None));
        // At another address.
        check(Member { address: "x:1".into(), ..member(2, "b") }, "moves", Ok(None));
        check(Member { address: "a:1".into(), ..member(2, "b") }, "moves", Err("at the same address a:1"));
        check(member(3, "c"), "moves", Err("no member any more"));
    }
}
