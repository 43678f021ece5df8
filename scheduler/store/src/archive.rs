//! A whole state as a stream of bytes: what a snapshot file holds, and what is sent to a member that lacks too much.
//!
//! A first line, frames of records (their length before them), an empty frame, and the SHA-256 of all that. Nothing of
//! a stream is used before its checksum was seen to be right.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wherry_api::{ObjectKey, RESOURCES};

use crate::disk::record;
use crate::memory::Objects;
use crate::object::{Entry, Interner};
use crate::raft::machine::Frozen;

/// The first line; its number grows with changes of the format.
const MAGIC: &[u8] = b"wherry-snapshot 1\n";

/// A frame with so many bytes takes no further object.
const FRAME_BYTES_FULL: usize = 1 << 20;

/// A longer frame is no frame of ours: one object beyond a full frame, and objects are bounded by the API server.
const FRAME_BYTES_MAX: usize = 12 << 20;

const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 32;

/// Why a stream is not a state, or was not made the present one.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is something else, or of a newer release.
    #[error("this is no snapshot that this release can read")]
    Unknown,
    /// Something is missing, or was changed.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// It was read well, but what it holds could not be written.
    #[error("the snapshot was not restored, or in part only (restore it again): {0}")]
    Write(#[from] crate::ProposeError),
}

/// A state as bytes, in pieces of about a megabyte.
pub struct Archive {
    state: Frozen,
    /// The next object: its shelf, and the key after which it comes.
    shelf: usize,
    after: Option<ObjectKey>,
    hash: Sha256,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Frames,
    End,
}

impl Archive {
    pub(crate) fn of(state: Frozen) -> Self {
        Self { state, shelf: 0, after: None, hash: Sha256::new(), stage: Stage::Head }
    }

    fn head(&self) -> Vec<u8> {
        let numbers = [self.state.revision.to_le_bytes(), self.state.reserved.to_le_bytes()];
        [MAGIC, numbers.as_flattened()].concat()
    }

    fn records(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let (Some(resource), Some(objects)) = (RESOURCES.get(self.shelf), self.state.objects.get(self.shelf)) {
            for (key, entry) in following(objects, self.after.take()) {
                record::write(&mut out, resource, key, entry.revision, Some(entry));
                if out.len() >= FRAME_BYTES_FULL {
                    self.after = Some(key.clone());
                    return out;
                }
            }
            self.shelf += 1;
        }
        out
    }
}

impl Iterator for Archive {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = match self.stage {
            Stage::End => return None,
            Stage::Head => self.head(),
            Stage::Frames => framed(&self.records()),
        };
        self.hash.update(&piece);
        let is_last = self.stage == Stage::Frames && piece.len() == LENGTH_BYTES;
        self.stage = if is_last { Stage::End } else { Stage::Frames };
        if is_last {
            piece.extend_from_slice(&self.hash.clone().finalize());
        }
        Some(piece.into())
    }
}

fn following(objects: &Objects, after: Option<ObjectKey>) -> impl Iterator<Item = (&ObjectKey, &Arc<Entry>)> {
    objects.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
}

fn framed(records: &[u8]) -> Vec<u8> {
    let length = u32::try_from(records.len()).unwrap_or(u32::MAX).to_le_bytes();
    [length.as_slice(), records].concat()
}

/// Puts a state together again, from pieces cut anywhere.
#[derive(Default)]
pub struct Assembly {
    /// What was received and is no whole part yet.
    rest: Vec<u8>,
    hash: Sha256,
    objects: Vec<Objects>,
    interner: Interner,
    numbers: Option<(u64, u64)>,
    is_complete: bool,
}

impl Assembly {
    /// Takes further bytes. True once the last was seen and the checksum is right.
    pub fn add(&mut self, bytes: &[u8]) -> Result<bool, RestoreError> {
        self.rest.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut self.rest);
        let mut used = 0;
        while let Some(part) = self.part(rest.get(used..).unwrap_or_default())? {
            used += part;
        }
        rest.drain(..used);
        self.rest = rest;
        Ok(self.is_complete)
    }

    /// The state.
    pub(crate) fn finish(self) -> Result<Frozen, RestoreError> {
        match self.numbers.filter(|_| self.is_complete) {
            Some((revision, reserved)) => Ok(Frozen { objects: self.objects, revision, reserved }),
            None => Err(RestoreError::Damaged("its end is missing")),
        }
    }

    /// Takes one part from the beginning of the bytes, and tells how long it was; none where it is not whole.
    fn part(&mut self, bytes: &[u8]) -> Result<Option<usize>, RestoreError> {
        if self.is_complete {
            return if bytes.is_empty() { Ok(None) } else { Err(RestoreError::Damaged("something follows its end")) };
        }
        if self.numbers.is_none() { self.head(bytes) } else { self.frame(bytes) }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, RestoreError> {
        if !MAGIC.starts_with(bytes.get(..MAGIC.len().min(bytes.len())).unwrap_or_default()) {
            return Err(RestoreError::Unknown);
        }
        let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let (Some(revision), Some(reserved)) = (number(MAGIC.len()), number(MAGIC.len() + 8)) else { return Ok(None) };
        self.numbers = Some((revision, reserved));
        self.objects = RESOURCES.iter().map(|_| Objects::new()).collect();
        let length = MAGIC.len() + 16;
        self.hash.update(bytes.get(..length).unwrap_or_default());
        Ok(Some(length))
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<Option<usize>, RestoreError> {
        let Some((head, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(RestoreError::Damaged("a part is too long"));
        }
        if length == 0 {
            return self.end(head, rest);
        }
        let Some(records) = rest.get(..length) else { return Ok(None) };
        self.hash.update(head);
        self.hash.update(records);
        for record in record::read(records).ok_or(RestoreError::Damaged("a part cannot be read"))? {
            if record.shelf.is_none() {
                return Err(RestoreError::Unknown);
            }
            record.settle(&mut self.objects, &mut self.interner);
        }
        Ok(Some(head.len() + length))
    }

    fn end(&mut self, head: &[u8], rest: &[u8]) -> Result<Option<usize>, RestoreError> {
        let Some(checksum) = rest.get(..CHECKSUM_BYTES) else { return Ok(None) };
        self.hash.update(head);
        if self.hash.clone().finalize().as_slice() != checksum {
            return Err(RestoreError::Damaged("its checksum is wrong"));
        }
        self.is_complete = true;
        Ok(Some(head.len() + CHECKSUM_BYTES))
    }
}
