//! What somebody is given who is to join: `ID.SECRET.HASH`. The first two parts are a bootstrap token as Kubernetes has
//! them; the hash is of the authority's public key, so that who joins knows the cluster before it says the secret.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand;

use crate::authority::PkiError;

const ID_CHARS: usize = 6;
const SECRET_CHARS: usize = 16;
const HASH_BYTES: usize = 32;
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// The SHA-256 of an authority's public key, as kubeadm takes it: of its `SubjectPublicKeyInfo` (RFC 7469).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(pub [u8; HASH_BYTES]);

/// A token for joining.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Six lower case letters and digits: public.
    pub id: String,
    /// Sixteen lower case letters and digits.
    pub secret: String,
    /// What the cluster's authority must have.
    pub authority: KeyHash,
}

/// Not of the form of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has not the form ID.SECRET.HASH that `wherry token create` prints")]
pub struct TokenError;

impl JoinToken {
    /// A new token for the cluster of an authority.
    pub fn generate(authority: KeyHash) -> Result<Self, PkiError> {
        Ok(Self { id: random(ID_CHARS)?, secret: random(SECRET_CHARS)?, authority })
    }

    /// What is sent to the API server.
    pub fn bearer(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.id, self.secret, self.authority)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.split('.').collect();
        let [id, secret, hash] = parts.as_slice() else { return Err(TokenError) };
        let is_word = |text: &str, length| text.len() == length && text.bytes().all(|byte| ALPHABET.contains(&byte));
        if !is_word(id, ID_CHARS) || !is_word(secret, SECRET_CHARS) {
            return Err(TokenError);
        }
        Ok(Self { id: (*id).to_owned(), secret: (*secret).to_owned(), authority: hash.parse()? })
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for KeyHash {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut hash = [0; HASH_BYTES];
        if text.len() != 2 * HASH_BYTES || !text.is_ascii() {
            return Err(TokenError);
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| TokenError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| TokenError)?;
        }
        Ok(Self(hash))
    }
}

/// Characters that nobody can guess. A byte that would favour some of them is drawn anew.
fn random(length: usize) -> Result<String, PkiError> {
    let fair = u8::MAX - u8::MAX % 36;
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut byte = [0];
        rand::fill(&mut byte).map_err(|_| PkiError::Random)?;
        let drawn = byte.iter().filter(|byte| **byte < fair).filter_map(|byte| ALPHABET.get(usize::from(byte % 36)));
        text.extend(drawn.map(|&letter| char::from(letter)));
    }
    Ok(text)
}
