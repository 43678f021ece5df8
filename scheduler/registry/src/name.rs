//! The names of the distribution specification. A valid name is also a safe relative path: no part of it is
//! empty, begins with a dot or an underscore, or holds a separator.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, Error};

/// A repository's name, such as `library/hello`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Box<str>);

/// What names a manifest in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A tag, such as `v1`.
    Tag(Box<str>),
    /// Its digest.
    Digest(Digest),
}

/// The longest repository name, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// The longest tag, in bytes.
const TAG_BYTES_MAX: usize = 128;

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepositoryName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_valid = text.len() <= NAME_BYTES_MAX && text.split('/').all(is_component);
        if is_valid { Ok(Self(text.into())) } else { Err(Error::NameInvalid(text.to_owned())) }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    text.starts_with(is_word) && text.ends_with(is_word) && text.split(is_word).all(is_separator)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains(':') {
            return Ok(Self::Digest(text.parse()?));
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_tag = text.len() <= TAG_BYTES_MAX
            && text.starts_with(is_word)
            && text.chars().all(|c| is_word(c) || c == '.' || c == '-');
        if is_tag { Ok(Self::Tag(text.into())) } else { Err(Error::TagInvalid(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_specification() {
        for good in ["a", "hello", "library/hello-world", "a.b/c__d/e--f", "0"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "A", "a..b", "../a", "a/../b", "_a", "a___b", "a b", "a//b", "é"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
        for good in ["v1", "_x", "1.0-rc.1", "LATEST"] {
            assert!(good.parse::<Reference>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "sha256:12", "sha512:ab", &"x".repeat(129)] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
