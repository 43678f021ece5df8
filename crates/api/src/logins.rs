//! Logins at image registries: those of the Secrets that a pod names in `imagePullSecrets`, and which of them an image is
//! pulled with. Pure.
//!
//! Takes both forms that Kubernetes knows, `kubernetes.io/dockerconfigjson` and the older `kubernetes.io/dockercfg`, and
//! chooses as a kubelet's keyring does (`k8s.io/kubernetes/pkg/credentialprovider`); of its patterns, `*` only.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::kinds::Secret;

/// How many logins of a pod are looked at.
const LOGINS_MAX: usize = 64;
/// Docker's own registry, as image names have it, and as logins do.
const DOCKER_HUB: (&str, &str) = ("docker.io", "index.docker.io");
/// Versions of the registry's API, which some write behind its name.
const VERSIONS: [&str; 2] = ["/v1", "/v2"];

/// A login at a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The registry, as the secret names it: `host[:port][/path]`, where a part of the host may be a pattern, or such a URL.
    pub registry: String,
    /// Who.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("registry", &self.registry).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Login {
    /// The logins of some Secrets; what is none of a registry's, or cannot be read, counts for nothing.
    pub fn of_secrets<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Vec<Self> {
        let all = secrets.flat_map(auths).filter_map(|(registry, auth)| auth.login(registry));
        all.take(LOGINS_MAX).collect()
    }

    /// Those that an image of a registry (empty: Docker's own) and repository is pulled with, in the order in which they are
    /// tried: those of the longest path first.
    pub fn fitting<'a>(all: &'a [Self], registry: &str, repository: &str) -> Vec<&'a Self> {
        let is_hub = registry.is_empty() || [DOCKER_HUB.0, DOCKER_HUB.1].contains(&registry);
        let host = if is_hub { DOCKER_HUB.0 } else { registry };
        let mut fitting: Vec<_> = all.iter().filter(|login| login.place().holds(host, repository)).collect();
        fitting.sort_by_key(|login| std::cmp::Reverse(login.place()));
        if fitting.is_empty() && is_hub {
            fitting.extend(all.iter().filter(|login| login.place() == Place { host: DOCKER_HUB.1, path: "" }));
        }
        fitting
    }

    fn place(&self) -> Place<'_> {
        let bare = self.registry.split_once("://").map_or(self.registry.as_str(), |(_, bare)| bare);
        let (host, path) = bare.find('/').map_or((bare, ""), |slash| bare.split_at(slash));
        let versioned = VERSIONS.iter().find_map(|version| path.strip_prefix(version));
        let path = versioned.filter(|rest| rest.starts_with('/')).unwrap_or(path);
        Place { host, path: if path == "/" { "" } else { path } }
    }
}

/// What a login is for: all repositories of the host whose path begins so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'a> {
    host: &'a str,
    path: &'a str,
}

impl Place<'_> {
    fn holds(self, host: &str, repository: &str) -> bool {
        let below = self.path.strip_prefix('/').unwrap_or(self.path);
        is_host_like(host, self.host) && repository.starts_with(below)
    }
}

/// Part by part; ports are the same, or neither has one.
fn is_host_like(host: &str, pattern: &str) -> bool {
    let ((labels, port), (patterns, wanted)) = (apart(host), apart(pattern));
    let same = labels.len() == patterns.len() && port == wanted;
    same && labels.iter().zip(patterns).all(|(label, pattern)| is_like(label, pattern))
}

fn apart(host: &str) -> (Vec<&str>, Option<&str>) {
    let (name, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    (name.split('.').collect(), port)
}

/// Each `*` of the pattern is any text.
fn is_like(label: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return label == pattern };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let left = middle.split('*').try_fold(label.strip_prefix(first), |left, part| {
        let (_, after) = left?.split_once(part)?;
        Some(Some(after))
    });
    left.flatten().is_some_and(|left| left.ends_with(last))
}

#[derive(Deserialize)]
struct Config {
    auths: BTreeMap<String, Auth>,
}

/// One registry: `auth` is the other two, joined with a colon, in base64, and goes before them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
    auth: String,
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
        if self.auth.is_empty() {
            let Self { username: user, password, .. } = self;
            return (!user.is_empty()).then_some(Login { registry, user, password });
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
        let joined = STANDARD.encode("me:pass:word");
        let auths = json!({"a.example": {"auth": joined, "username": "not"}, "b.example": {"auth": "?"}, "c": {}});
        let newer = secret(".dockerconfigjson", json!({ "auths": auths }));
        let older = secret(".dockercfg", json!({"https://c.example/v1/": {"username": "you", "password": "p"}}));
        let other = secret("key", json!("value"));
        let broken = secret(".dockerconfigjson", json!([1]));
        assert_eq!(
            Login::of_secrets([newer, older, other, broken].iter()),
            vec![login("a.example", "me", "pass:word"), login("https://c.example/v1/", "you", "p")]
        );
    }

    #[test]
    fn logins_are_chosen_as_a_kubelet_does() {
        let check = |registries: &[&str], image: &str, expected: &[&str]| {
            let login =
                |registry: &&str| Login { registry: (*registry).into(), user: String::new(), password: String::new() };
            let all: Vec<_> = registries.iter().map(login).collect();
            let (registry, repository) = crate::image_name::split_registry(image);
            let fitting = Login::fitting(&all, registry.unwrap_or_default(), repository);
            let found: Vec<_> = fitting.iter().map(|login| login.registry.as_str()).collect();
            assert_eq!(found, expected, "{registries:?} {image}");
        };
        check(&["ghcr.io"], "ghcr.io/team/web", &["ghcr.io"]);
        check(&["https://ghcr.io/v2/"], "ghcr.io/team/web", &["https://ghcr.io/v2/"]);
        check(&["ghcr.io:5000", "ghcr.io.evil.example", "example"], "ghcr.io/team/web", &[]);
        check(&["127.0.0.1:5000"], "127.0.0.1:5000/web", &["127.0.0.1:5000"]);
        // The longest path goes first; a path of another repository does not fit.
        check(
            &["r.io", "r.io/team/web", "r.io/team", "r.io/other"],
            "r.io/team/web",
            &["r.io/team/web", "r.io/team", "r.io"],
        );
        // Patterns are of one part of the host's name each.
        check(&["*.r.io", "*.io", "b.*.io"], "b.r.io/web", &["b.*.io", "*.r.io"]);
        check(&["*-good.r.io", "pre*x*.r.io"], "prefix-good.r.io/web", &["pre*x*.r.io", "*-good.r.io"]);
        check(&["*a*b.r.io", "*.r.io:1"], "ab.r.io/web", &["*a*b.r.io"]);
        check(&["a*a.r.io"], "a.r.io/web", &[]);
        // Docker's own registry has several names.
        check(&["https://index.docker.io/v1/"], "nginx", &["https://index.docker.io/v1/"]);
        check(&["https://index.docker.io/v1/"], "docker.io/team/web", &["https://index.docker.io/v1/"]);
        check(&["index.docker.io", "docker.io/team"], "docker.io/team/web", &["docker.io/team"]);
        check(&["ghcr.io"], "nginx", &[]);
    }
}
