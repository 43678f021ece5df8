//! A layer in an archive, read piece by piece: an image need not fit into memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wherry_image::{Blob, Place};

/// How much is read at once to learn the digest, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// A layer, and how far it was read.
pub struct Layer {
    file: File,
    digest: String,
    left_bytes: u64,
}

impl Layer {
    /// That of a place of an archive.
    pub fn of(archive: &Path, place: Place) -> io::Result<Self> {
        let mut layer = Self { file: File::open(archive)?, digest: String::new(), left_bytes: place.size };
        layer.file.seek(SeekFrom::Start(place.offset))?;
        let mut hasher = Sha256::new();
        loop {
            let piece = layer.next(PIECE_BYTES)?;
            if piece.is_empty() {
                break;
            }
            hasher.update(&piece);
        }
        let hash = hasher.finalize();
        layer.digest = hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"));
        layer.left_bytes = place.size;
        layer.file.seek(SeekFrom::Start(place.offset))?;
        Ok(layer)
    }
}

impl Blob for Layer {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn next(&mut self, bytes_max: usize) -> io::Result<Bytes> {
        let wanted = self.left_bytes.min(u64::try_from(bytes_max).unwrap_or(u64::MAX));
        let mut piece = vec![0; usize::try_from(wanted).unwrap_or(bytes_max)];
        self.file.read_exact(&mut piece)?;
        self.left_bytes -= wanted;
        Ok(piece.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_read_piece_by_piece() {
        let scratch = tempfile::tempdir().unwrap();
        let archive = scratch.path().join("a");
        std::fs::write(&archive, b"--content--").unwrap();
        let mut layer = Layer::of(&archive, Place { offset: 2, size: 7 }).unwrap();
        let mut pieces = vec![];
        while let Some(piece) = Some(layer.next(4).unwrap()).filter(|piece| !piece.is_empty()) {
            pieces.push(piece);
        }
        assert_eq!(pieces, [&b"cont"[..], b"ent"]);
        assert_eq!(layer.digest(), "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73");
        assert!(Layer::of(&archive, Place { offset: 2, size: 70 }).is_err());
    }
}
