//! Images of any registry, by the registry that their names name, over HTTPS: where the node of another cluster gets its modules.
//!
//! Whom it trusts, beside the authorities of the machine, and what it presents lies where Docker and Podman look for it:
//! `DIRECTORY/HOST[:PORT]/ca.crt`, `client.cert` and `client.key`. A token that a registry gives to anybody is asked for
//! (the distribution project's token authentication); there are no passwords, and no `imagePullSecrets`.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde::Deserialize;
use wherry_client::{Https, Kubeconfig};

use crate::artifact::{Artifact, MANIFEST_TYPE};
use crate::{FetchError, ImageSource, Reference};

/// Where a name without a registry is looked up, and that registry's address.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// How often an answer may lead elsewhere.
const REDIRECTS_MAX: usize = 5;
/// Where Linux distributions keep the authorities that they trust: Debian, Fedora, Alpine.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// All registries.
pub struct Registries {
    certificates: PathBuf,
}

/// How a registry asks for a token: `WWW-Authenticate: Bearer realm="…",service="…",scope="…"`.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    query: String,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(alias = "access_token")]
    token: String,
}

impl Registries {
    /// `certificates` is the directory that has a directory for each registry.
    pub const fn new(certificates: PathBuf) -> Self {
        Self { certificates }
    }

    /// Reads what a registry has at a path.
    async fn get(&self, reference: &Reference, rest: &str) -> Result<Bytes, FetchError> {
        let (host, repository) = place(reference);
        let mut at: Uri = format!("https://{host}/v2/{repository}/{rest}").parse().map_err(|e| unavailable(&e))?;
        let mut token = String::new();
        for _ in 0..REDIRECTS_MAX {
            let (status, headers, body) = self.ask(&at, &token).await?;
            match status {
                StatusCode::UNAUTHORIZED if token.is_empty() => {
                    let asked = challenge(&headers).ok_or_else(|| unavailable(&"401 Unauthorized"))?;
                    token = self.token(&asked).await?;
                }
                status if status.is_redirection() => {
                    at = elsewhere(&at, &headers).ok_or_else(|| unavailable(&"it leads nowhere"))?;
                    // The other place has its own ways; a token is for the registry alone.
                    token = String::new();
                }
                StatusCode::NOT_FOUND => return Err(FetchError::NotFound(reference.to_string())),
                status if status.is_success() => return Ok(body),
                status => return Err(unavailable(&format!("{status}: {}", String::from_utf8_lossy(&body)))),
            }
        }
        Err(unavailable(&"it leads from one place to the next"))
    }

    async fn ask(&self, at: &Uri, token: &str) -> Result<(StatusCode, HeaderMap, Bytes), FetchError> {
        let host = at.authority().map(ToString::to_string).unwrap_or_default();
        let https = self.https(&host, token).await?;
        let path = at.path_and_query().map_or("/", |path| path.as_str());
        https.call(Method::GET, path, MANIFEST_TYPE, None, Bytes::new()).await.map_err(|e| unavailable(&e))
    }

    async fn https(&self, host: &str, token: &str) -> Result<Https, FetchError> {
        let directory = self.certificates.join(host);
        let read = async |name: &str| tokio::fs::read_to_string(directory.join(name)).await.unwrap_or_default();
        let mut authority = read("ca.crt").await;
        for bundle in AUTHORITIES {
            if let Ok(text) = tokio::fs::read_to_string(bundle).await {
                authority.push_str(&text);
                break;
            }
        }
        let (certificate, key) = (read("client.cert").await, read("client.key").await);
        let (servers, token) = (vec![format!("https://{host}")], token.to_owned());
        let whole = Kubeconfig { servers, authority, certificate, key, token };
        Https::new(&whole).map_err(|e| unavailable(&e))
    }

    /// A token that anybody gets.
    async fn token(&self, asked: &Challenge) -> Result<String, FetchError> {
        let at: Uri = format!("{}?{}", asked.realm, asked.query).parse().map_err(|e| unavailable(&e))?;
        let (status, _, body) = self.ask(&at, "").await?;
        if !status.is_success() {
            return Err(unavailable(&format!("no token: {status}")));
        }
        serde_json::from_slice::<Granted>(&body).map(|granted| granted.token).map_err(|e| unavailable(&e))
    }
}

#[async_trait]
impl ImageSource for Registries {
    async fn resolve(&self, reference: &Reference) -> Result<String, FetchError> {
        let manifest = self.get(reference, &format!("manifests/{}", reference.version)).await?;
        Artifact::layer_of(&manifest).ok_or_else(|| FetchError::NotAModule(reference.to_string()))
    }

    async fn fetch(&self, reference: &Reference, digest: &str) -> Result<Bytes, FetchError> {
        self.get(reference, &format!("blobs/{digest}")).await
    }
}

fn unavailable(why: &(impl ToString + ?Sized)) -> FetchError {
    FetchError::Unavailable(format!("the registry: {}", why.to_string()))
}

/// The host of an image's registry, and the repository there.
fn place(reference: &Reference) -> (&str, String) {
    let repository = &reference.repository;
    match reference.registry.as_str() {
        "" | DOCKER_HUB_NAME if !repository.contains('/') => (DOCKER_HUB.1, format!("library/{repository}")),
        "" | DOCKER_HUB_NAME => (DOCKER_HUB.1, repository.clone()),
        host => (host, repository.clone()),
    }
}

const DOCKER_HUB_NAME: &str = DOCKER_HUB.0;

fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let asked = headers.get(header::WWW_AUTHENTICATE)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let field = |name: &str| {
        let (_, rest) = asked.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let realm = field("realm").filter(|realm| realm.starts_with("https://"))?.to_owned();
    let query = ["service", "scope"].iter().filter_map(|name| Some(format!("{name}={}", field(name)?)));
    Some(Challenge { realm, query: query.collect::<Vec<_>>().join("&") })
}

/// Where an answer leads: another HTTPS address, or a path of the same server.
fn elsewhere(from: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    if location.starts_with('/') {
        return format!("https://{}{location}", from.authority()?).parse().ok();
    }
    location.parse().ok().filter(|to: &Uri| to.scheme_str() == Some("https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_registries() {
        let check = |name: &str, expected: (&str, &str)| {
            let reference: Reference = name.parse().unwrap();
            let (host, repository) = place(&reference);
            assert_eq!((host, repository.as_str()), expected, "{name}");
        };
        check("hello:v1", ("registry-1.docker.io", "library/hello"));
        check("team/hello", ("registry-1.docker.io", "team/hello"));
        check("docker.io/team/hello", ("registry-1.docker.io", "team/hello"));
        check("ghcr.io/team/hello:v1", ("ghcr.io", "team/hello"));
        check("127.0.0.1:5000/hello:v1", ("127.0.0.1:5000", "hello"));
    }

    #[test]
    fn a_registry_asks_for_a_token() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let headers = HeaderMap::from_iter([(header::WWW_AUTHENTICATE, text.parse().unwrap())]);
            let found = challenge(&headers).map(|found| (found.realm, found.query));
            assert_eq!(found, expected.map(|(realm, query)| (realm.to_owned(), query.to_owned())), "{text}");
        };
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull""#,
            Some(("https://auth.docker.io/token", "service=registry.docker.io&scope=repository:library/a:pull")),
        );
        check(r#"Bearer realm="http://plain.example/token""#, None);
        check(r#"Basic realm="https://a.example""#, None);
    }

    #[test]
    fn an_answer_leads_elsewhere_over_https_only() {
        let from: Uri = "https://a.example:5000/v2/x".parse().unwrap();
        let check = |location: &str, expected: Option<&str>| {
            let headers = HeaderMap::from_iter([(header::LOCATION, location.parse().unwrap())]);
            let found = elsewhere(&from, &headers).map(|to| to.to_string());
            assert_eq!(found.as_deref(), expected, "{location}");
        };
        check("/y?z=1", Some("https://a.example:5000/y?z=1"));
        check("https://b.example/y", Some("https://b.example/y"));
        check("http://b.example/y", None);
    }
}
