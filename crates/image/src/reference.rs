//! Names of images: `hello:v1`, `registry.example:5000/team/hello:v1`, `hello@sha256:…`.

use std::fmt;
use std::str::FromStr;

use wherry_api::Login;
use wherry_api::image_name::split_registry;

/// The longest name, as distributions have it.
const NAME_CHARS_MAX: usize = 255;
const TAG_CHARS_MAX: usize = 128;

/// An image's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The registry's `host[:port]`; empty for the cluster's own.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag, or `sha256:…`.
    pub version: String,
}

/// Why a text is no image name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no image name; write NAME:TAG, such as hello:v1")]
pub struct ReferenceError(String);

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = || ReferenceError(text.to_owned());
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        let (registry, rest) = split_registry(name);
        let (repository, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        let parts_fit = !repository.is_empty() && repository.split('/').all(is_part);
        let digest_fits = digest.is_none_or(is_digest);
        if !parts_fit || !is_tag(tag) || !digest_fits || repository.len() > NAME_CHARS_MAX {
            return Err(wrong());
        }
        let version = digest.unwrap_or(tag).to_owned();
        Ok(Self { registry: registry.unwrap_or_default().to_owned(), repository: repository.to_owned(), version })
    }
}

impl Reference {
    /// As whom it is pulled, in the order in which that is tried: with those of the logins that fit it; as anybody, where none does.
    pub fn logins<'a>(&self, all: &'a [Login]) -> Vec<Option<&'a Login>> {
        let fitting = Login::fitting(all, &self.registry, &self.repository);
        if fitting.is_empty() { vec![None] } else { fitting.into_iter().map(Some).collect() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.registry.is_empty() { "" } else { "/" };
        let mark = if self.version.contains(':') { '@' } else { ':' };
        write!(f, "{}{slash}{}{mark}{}", self.registry, self.repository, self.version)
    }
}

fn is_part(part: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    edge(part.chars().next()) && edge(part.chars().last()) && part.chars().all(inner)
}

fn is_tag(tag: &str) -> bool {
    let first = tag.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    first && tag.len() <= TAG_CHARS_MAX && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("hello", ("", "hello", "latest")),
            ("team/hello:v1", ("", "team/hello", "v1")),
            ("registry.example:5000/a/b:v1", ("registry.example:5000", "a/b", "v1")),
            (&format!("hello@{digest}"), ("", "hello", &digest)),
        ] {
            let found: Reference = text.parse().unwrap();
            assert_eq!(
                (found.registry.as_str(), found.repository.as_str(), found.version.as_str()),
                expected,
                "{text}"
            );
        }
        for text in ["", "Hello:v1", "a:b:c", "a@sha256:12", "a b", "a//b", "-a", "a:-"] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
