//! `token`: the bootstrap tokens by which machines join, as kubeadm keeps them: Secrets `bootstrap-token-ID` in `kube-system`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use wherry_api::kinds::Secret;
use wherry_api::well_known::{BOOTSTRAP_TOKEN, BOOTSTRAP_TOKEN_PREFIX, MASTER_USAGE, TOKEN_USAGE_PREFIX};
use wherry_base::{Clock, SystemClock};
use wherry_client::{DeleteOptions, ListOptions};
use wherry_pki::JoinToken;

use crate::args::{ClusterArgs, TokenCreateArgs, TokenDeleteArgs, TokenVerb};
use crate::grid::Grid;

const NAMESPACE: &str = "kube-system";
const HEADINGS: [&str; 6] = ["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"];
const NONE: &str = "<none>";

/// Carries out a verb.
pub async fn run(verb: TokenVerb) -> anyhow::Result<()> {
    match verb {
        TokenVerb::Create(args) => create(args).await,
        TokenVerb::List(cluster) => list(cluster).await,
        TokenVerb::Delete(args) => delete(args).await,
    }
}

async fn create(args: TokenCreateArgs) -> anyhow::Result<()> {
    let authority = args.cluster.load()?.authority;
    let hash = wherry_pki::key_hash(&authority).context("the kubeconfig names no authority of the cluster")?;
    let token = JoinToken::generate(hash)?;
    let secret = serde_json::from_value(secret(&token, &args, SystemClock.now()))?;
    args.cluster.client()?.namespaced::<Secret>(NAMESPACE).create(&secret).await?;
    sayln!("{token}");
    Ok(())
}

fn secret(token: &JoinToken, args: &TokenCreateArgs, now: Timestamp) -> Value {
    let usages = if args.master { &[MASTER_USAGE][..] } else { &["authentication", "signing"] };
    let mut data = json!({"token-id": token.id, "token-secret": token.secret});
    if let Some(map) = data.as_object_mut() {
        map.extend(usages.iter().map(|usage| (format!("{TOKEN_USAGE_PREFIX}{usage}"), "true".into())));
        if !args.ttl.is_zero() {
            map.insert("expiration".into(), shown(now.saturating_add(args.ttl).unwrap_or(now)).into());
        }
        if !args.description.is_empty() {
            map.insert("description".into(), args.description.as_str().into());
        }
    }
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": BOOTSTRAP_TOKEN,
        "metadata": {"name": format!("{BOOTSTRAP_TOKEN_PREFIX}{}", token.id), "namespace": NAMESPACE}, "stringData": data,
    })
}

async fn list(cluster: ClusterArgs) -> anyhow::Result<()> {
    let options = ListOptions { fields: format!("type={BOOTSTRAP_TOKEN}"), ..ListOptions::default() };
    let tokens = cluster.client()?.namespaced::<Secret>(NAMESPACE).list(options).await?.items;
    if tokens.is_empty() {
        eprintln!("No tokens found");
        return Ok(());
    }
    let mut grid = Grid::new(HEADINGS);
    tokens.into_iter().for_each(|token| grid.add(row(&fields(token), SystemClock.now())));
    say!("{grid}");
    Ok(())
}

async fn delete(args: TokenDeleteArgs) -> anyhow::Result<()> {
    let secrets = args.cluster.client()?.namespaced::<Secret>(NAMESPACE);
    for token in &args.tokens {
        let id = token.split('.').next().unwrap_or_default();
        secrets.delete(&format!("{BOOTSTRAP_TOKEN_PREFIX}{id}"), DeleteOptions::default()).await?;
        sayln!("bootstrap token \"{id}\" deleted");
    }
    Ok(())
}

/// A Secret's data, as far as it is text.
fn fields(secret: Secret) -> BTreeMap<String, String> {
    let data = secret.data.unwrap_or_default().into_iter();
    data.filter_map(|(key, value)| Some((key, String::from_utf8(value.0).ok()?))).collect()
}

fn row(fields: &BTreeMap<String, String>, now: Timestamp) -> [String; 6] {
    let text = |key: &str| fields.get(key).cloned().unwrap_or_else(|| NONE.to_owned());
    let (ttl, expires) = match fields.get("expiration").map(|text| text.parse::<Timestamp>()) {
        None => ("<forever>".to_owned(), "<never>".to_owned()),
        Some(Err(_)) => ("<invalid>".to_owned(), text("expiration")),
        Some(Ok(until)) => (left(until.duration_since(now)), shown(until)),
    };
    let usages = fields.iter().filter(|(_, value)| *value == "true");
    let usages: Vec<&str> = usages.filter_map(|(key, _)| key.strip_prefix(TOKEN_USAGE_PREFIX)).collect();
    [text("token-id"), ttl, expires, usages.join(","), text("description"), text("auth-extra-groups")]
}

/// As kubeadm shows it: the largest unit of what is left.
fn left(left: SignedDuration) -> String {
    let Ok(left) = Duration::try_from(left) else { return "<expired>".to_owned() };
    match left.as_secs() {
        0 => "<expired>".to_owned(),
        seconds if seconds < 60 => format!("{seconds}s"),
        seconds if seconds < 3600 => format!("{}m", seconds / 60),
        seconds if seconds < 2 * 86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_without_its_secret() {
        let now = "2026-11-27T08:00:00Z".parse().unwrap();
        let token = JoinToken {
            id: "abcdef".into(),
            secret: "0123456789abcdef".into(),
            authority: wherry_pki::KeyHash([0; 32]),
        };
        let check = |ttl: u64, description: &str, later: u64, expected: &str| {
            let args = TokenCreateArgs {
                ttl: Duration::from_secs(ttl),
                master: description.contains("master"),
                description: description.into(),
                cluster: ClusterArgs::default(),
            };
            let made = secret(&token, &args, now);
            let fields: BTreeMap<String, String> = serde_json::from_value(made["stringData"].clone()).unwrap();
            let row = row(&fields, now + Duration::from_secs(later));
            assert_eq!(row.join(" | "), expected);
        };
        let usages = "authentication,signing";
        check(86_400, "", 3600, &format!("abcdef | 23h | 2026-11-28T08:00:00Z | {usages} | <none> | <none>"));
        check(60, "rack 1", 60, &format!("abcdef | <expired> | 2026-11-27T08:01:00Z | {usages} | rack 1 | <none>"));
        check(60, "a master", 0, "abcdef | 1m | 2026-11-27T08:01:00Z | master | a master | <none>");
        check(0, "", 0, &format!("abcdef | <forever> | <never> | {usages} | <none> | <none>"));
    }
}
