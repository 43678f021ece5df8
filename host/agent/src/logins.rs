//! Logins at image registries, from the Secrets that a pod names in `imagePullSecrets`. Pure.
//!
//! Takes both forms that Kubernetes knows: `kubernetes.io/dockerconfigjson` and the older `kubernetes.io/dockercfg`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use wherry_api::kinds::Secret;
use wherry_runtime::Login;

/// How many logins of a pod are looked at.
const LOGINS_MAX: usize = 64;

#[derive(Deserialize)]
struct Config {
    auths: BTreeMap<String, Auth>,
}

/// One registry: `auth` is the other two, joined with a colon, in base64.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
    auth: String,
}

/// The logins of some Secrets; what is none of a registry's, or cannot be read, counts for nothing.
pub fn logins<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Vec<Login> {
    let all = secrets.flat_map(auths).filter_map(|(registry, auth)| auth.login(registry));
    all.take(LOGINS_MAX).collect()
}

fn auths(secret: &Secret) -> BTreeMap<String, Auth> {
    let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    if let Some(config) = data(".dockerconfigjson") {
        return serde_json::from_slice(config).map(|config: Config| config.auths).unwrap_or_default();
    }
    data(".dockercfg").and_then(|config| serde_json::from_slice(config).ok()).unwrap_or_default()
}

impl Auth {
    fn login(self, registry: String) -> Option<Login> {
        if !self.username.is_empty() {
            return Some(Login { registry, user: self.username, password: self.password });
        }
        let joined = String::from_utf8(STANDARD.decode(self.auth).ok()?).ok()?;
        let (user, password) = joined.split_once(':')?;
        Some(Login { registry, user: user.to_owned(), password: password.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        let secret = |key: &str, content: serde_json::Value| -> Secret {
            serde_json::from_value(json!({"data": {key: STANDARD.encode(content.to_string())}})).unwrap()
        };
        let login = |registry: &str, user: &str, password: &str| Login {
            registry: registry.into(),
            user: user.into(),
            password: password.into(),
        };
        let auths = json!({"a.example": {"auth": STANDARD.encode("me:pass:word")}, "b.example": {"auth": "?"}});
        let newer = secret(".dockerconfigjson", json!({ "auths": auths }));
        let older = secret(".dockercfg", json!({"https://c.example/v1/": {"username": "you", "password": "p"}}));
        let other = secret("key", json!("value"));
        let broken = secret(".dockerconfigjson", json!([1]));
        assert_eq!(
            logins([newer, older, other, broken].iter()),
            vec![login("a.example", "me", "pass:word"), login("https://c.example/v1/", "you", "p")]
        );
    }
}
