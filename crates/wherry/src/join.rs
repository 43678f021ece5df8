//! How a node enters a cluster that it knows no more of than an address and a token: it believes the server by the hash in
//! the token, finds out whether it fits, and asks for a certificate. What it learns is kept for its next starts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::Value;
use wherry_base::Clock;
use wherry_client::{Client, Https};
use wherry_pki::{JoinToken, PinnedAuthority};

use crate::cluster_info::ClusterInfo;
use crate::config::CommonArgs;
use crate::data_dir::DataDir;
use crate::node_credentials::{Own, enroll};
use crate::servers;

/// How far the clocks of a node and of its master may be apart.
const CLOCKS_APART_MOST: Duration = Duration::from_secs(60);
/// How many minor releases of Kubernetes' API a node may be behind its master, as kubelets may.
const RELEASES_BEHIND_MAX: u32 = 3;

/// Where to, and by what right.
#[derive(Clone, Debug)]
pub struct Invitation<'a> {
    /// `https://HOST:PORT`.
    pub url: &'a str,
    /// The token.
    pub token: &'a JoinToken,
}

/// Enters the cluster: afterwards, the data directory holds a client certificate and where the API is.
pub async fn join(
    invitation: Invitation<'_>,
    own: &Own,
    args: &CommonArgs,
    data: &DataDir,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let Invitation { url, token } = invitation;
    let pinned = PinnedAuthority::new(token.authority);
    let https = Arc::new(Https::with_tls(&[url], pinned.client_config())?.bearer(&token.bearer()));
    let greeted = greet(&https, clock.now()).await.and_then(|release| check_release(&release));
    greeted.map_err(|error| explain(error, &pinned, url))?;
    let api = Client::new(https);
    let info = ClusterInfo::read(&api).await.context(
        "the cluster does not know the token; it may have expired, or been deleted: make one with `wherry token create`",
    )?;
    info.check(args)?;
    info.remember(data)?;
    let authority = pinned.certificate().context("the server has shown no authority")?;
    enroll(&api, own, &authority, data).await.context("the cluster gives this node no certificate")?;
    servers::remember(data, url)
}

/// The first exchange: whether the clocks fit. The server's release.
pub async fn greet(https: &Https, now: Timestamp) -> anyhow::Result<String> {
    let answer = https.call(http::Method::GET, "/version", "application/json", None, Bytes::new()).await?;
    let (_, headers, body) = answer;
    if let Some(date) = headers.get(http::header::DATE).and_then(|date| date.to_str().ok()) {
        check_clock(date, now)?;
    }
    let version: Value = serde_json::from_slice(&body).context("the server's /version is no JSON")?;
    Ok(version.get("gitVersion").and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn check_clock(date: &str, now: Timestamp) -> anyhow::Result<()> {
    let theirs = rfc2822::parse(date).context("the server's date cannot be read")?.timestamp();
    let apart = theirs.duration_since(now).unsigned_abs();
    ensure!(
        apart <= CLOCKS_APART_MOST,
        "this machine's clock says {now:.0}, the master's {theirs:.0}: set them right, at most {} s may be between them",
        CLOCKS_APART_MOST.as_secs()
    );
    Ok(())
}

fn check_release(theirs: &str) -> anyhow::Result<()> {
    let own = wherry_agent::VERSION;
    let (Some(older), Some(newer)) = (minor(own), minor(theirs)) else {
        bail!("the server's release \"{theirs}\" cannot be read: is it a Kubernetes API?");
    };
    ensure!(
        older <= newer,
        "this node's release {own} is newer than its master's, {theirs}: bring the master up to date first"
    );
    ensure!(
        newer - older <= RELEASES_BEHIND_MAX,
        "this node's release {own} is too old for its master's, {theirs}: bring the node up to date"
    );
    Ok(())
}

/// The 36 of `v1.36.0+wherry-0.1.0`.
fn minor(version: &str) -> Option<u32> {
    let (major, rest) = version.strip_prefix('v')?.split_once('.')?;
    let (minor, _) = rest.split_once('.')?;
    minor.parse().ok().filter(|_| major == "1")
}

/// Why a server was not believed, or not reached.
pub fn explain(error: anyhow::Error, pinned: &PinnedAuthority, url: &str) -> anyhow::Error {
    if pinned.has_refused() {
        return anyhow::anyhow!(
            "the server at {url} is not of the cluster that the token is for: its authority's key has another hash"
        );
    }
    error.context(format!("cannot join the cluster at {url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_be_a_minute_apart() {
        let check = |date: &str, expected: &str| {
            let found = check_clock(date, "2026-11-27T08:00:00.4Z".parse().unwrap());
            let found = found.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{date}: {found}");
        };
        check("Fri, 27 Nov 2026 08:00:59 GMT", "");
        check("Fri, 27 Nov 2026 07:59:01 GMT", "");
        check("Fri, 27 Nov 2026 08:02:00 GMT", "says 2026-11-27T08:00:00Z, the master's 2026-11-27T08:02:00Z");
        check("yesterday", "cannot be read");
    }

    #[test]
    fn a_node_is_no_newer_and_not_much_older() {
        let check = |theirs: &str, expected: &str| {
            let found = check_release(theirs).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{theirs}: {found}");
        };
        check("v1.36.0+wherry-0.1.0", "");
        check("v1.39.2", "");
        check("v1.40.0", "too old");
        check("v1.35.9", "newer than its master's");
        check("2", "cannot be read");
    }
}
