//! Images of any registry, by the registry that their names name: where a node gets modules that are not in its cluster's.
//!
//! Whom it trusts, beside the authorities of the machine, and what it presents lies where Docker and Podman look for it:
//! `DIRECTORY/HOST[:PORT]/ca.crt`, `client.cert` and `client.key`. A registry that asks for a login, or for a token
//! (`challenge`), gets those of the pod that fit it, in turn; where none does, it is asked as anybody. Follows the OCI
//! distribution specification 1.1.

mod challenge;
mod exchange;

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use wherry_api::Login;

use crate::artifact::{Artifact, digest};
use crate::{FetchError, ImageSource, Reference};
use challenge::{Challenge, basic, bearer};
use exchange::{Answer, get, may_lead, scheme, unavailable};

/// Docker's own registry: its name, and its address.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// How many answers may ask for something, or lead elsewhere, before there is one that does not.
const STEPS_MAX: usize = 6;
/// The largest manifest, and what a registry says when it gives none: as large as most registries have it.
const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// The largest module.
const MODULE_BYTES_MAX: usize = 512 << 20;
/// How much is told of what a registry says.
const REASON_CHARS_MAX: usize = 300;

/// All registries.
pub struct Registries {
    certificates: PathBuf,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(alias = "access_token")]
    token: String,
}

/// What a registry says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Registries {
    /// `certificates` is the directory that has a directory for each registry.
    pub const fn new(certificates: PathBuf) -> Self {
        Self { certificates }
    }

    /// Reads what a registry has at a path of a repository, with each login that fits it.
    async fn read(
        &self,
        reference: &Reference,
        rest: &str,
        logins: &[Login],
        bytes_max: usize,
    ) -> Result<Bytes, FetchError> {
        let mut read = Err(FetchError::Denied(String::new()));
        for login in reference.logins(logins) {
            read = self.read_as(reference, rest, login, bytes_max).await;
            if !matches!(read, Err(FetchError::Denied(_))) {
                break;
            }
        }
        read
    }

    async fn read_as(
        &self,
        reference: &Reference,
        rest: &str,
        login: Option<&Login>,
        bytes_max: usize,
    ) -> Result<Bytes, FetchError> {
        let (host, repository) = place(reference);
        let scheme = scheme(&self.certificates, host).await;
        let address = format!("{scheme}://{host}/v2/{repository}/{rest}");
        let mut at: Uri = address.parse().map_err(|e: http::uri::InvalidUri| FetchError::Unavailable(e.to_string()))?;
        let registry = at.authority().cloned();
        let mut shown: Option<HeaderValue> = None;
        for _ in 0..STEPS_MAX {
            let answer = get(&self.certificates, &at, shown.as_ref(), bytes_max).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED if shown.is_none() && at.authority() == registry.as_ref() => {
                    shown = Some(self.credential(&at, &answer, &repository, login).await?);
                }
                status if status.is_redirection() => {
                    let to = elsewhere(&at, &answer.headers).ok_or_else(|| unavailable(&at, "it leads nowhere"))?;
                    // The other place has its own ways; what is shown is for the registry alone.
                    shown = shown.filter(|_| to.authority() == at.authority());
                    at = to;
                }
                StatusCode::NOT_FOUND => return Err(FetchError::NotFound(reference.to_string())),
                status if status.is_success() => return Ok(answer.body),
                _ => return Err(refused(&at, &answer)),
            }
        }
        Err(unavailable(&at, "it leads from one place to the next"))
    }

    /// What a registry asks to be shown.
    async fn credential(
        &self,
        at: &Uri,
        asked: &Answer,
        repository: &str,
        login: Option<&Login>,
    ) -> Result<HeaderValue, FetchError> {
        let shown = match Challenge::of(&asked.headers, repository) {
            Some(Challenge::Basic) => login.and_then(basic),
            Some(Challenge::Bearer(realm)) => bearer(&self.token(at, &realm, login).await?),
            None => None,
        };
        shown.ok_or_else(|| refused(at, asked))
    }

    async fn token(&self, at: &Uri, realm: &str, login: Option<&Login>) -> Result<String, FetchError> {
        let service = realm.parse().ok().filter(|to| may_lead(at, to));
        let service: Uri =
            service.ok_or_else(|| unavailable(at, "it sends elsewhere for a token, where it is not safe"))?;
        let shown = login.and_then(basic);
        let answer = get(&self.certificates, &service, shown.as_ref(), MANIFEST_BYTES_MAX).await?;
        if !answer.status.is_success() {
            return Err(refused(&service, &answer));
        }
        let granted = serde_json::from_slice::<Granted>(&answer.body);
        granted.map(|granted| granted.token).map_err(|e| unavailable(&service, &e))
    }
}

#[async_trait]
impl ImageSource for Registries {
    async fn resolve(&self, reference: &Reference, logins: &[Login]) -> Result<String, FetchError> {
        let version = &reference.version;
        let manifest = self.read(reference, &format!("manifests/{version}"), logins, MANIFEST_BYTES_MAX).await?;
        if version.contains(':') && digest(&manifest) != *version {
            return Err(FetchError::Unavailable(format!("the registry sent something other than {version}")));
        }
        Artifact::layer_of(&manifest).ok_or_else(|| FetchError::NotAModule(reference.to_string()))
    }

    async fn fetch(&self, reference: &Reference, digest: &str, logins: &[Login]) -> Result<Bytes, FetchError> {
        self.read(reference, &format!("blobs/{digest}"), logins, MODULE_BYTES_MAX).await
    }
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

/// Where an answer leads.
fn elsewhere(from: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    if location.starts_with('/') {
        return format!("{}://{}{location}", from.scheme_str()?, from.authority()?).parse().ok();
    }
    location.parse().ok().filter(|to| may_lead(from, to))
}

fn refused(at: &Uri, answer: &Answer) -> FetchError {
    let Answer { status, body, .. } = answer;
    let faults = serde_json::from_slice(body).map(|refusal: Refusal| refusal.errors).unwrap_or_default();
    let said = faults.first().map(|Fault { code, message }| format!(": {code}: {message}")).unwrap_or_default();
    let said: String = said.chars().take(REASON_CHARS_MAX).collect();
    if matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return FetchError::Denied(format!("the registry at {} answers {status}{said}", at.host().unwrap_or_default()));
    }
    unavailable(at, &format!("{status}{said}"))
}

#[cfg(test)]
mod tests;
