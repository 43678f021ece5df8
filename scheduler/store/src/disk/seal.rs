//! A checksum before each row, so that damage to a file is found and named rather than served.

const CHECKSUM_BYTES: usize = 4;

/// The bytes, after their CRC-32.
pub(crate) fn sealed(bytes: &[u8]) -> Vec<u8> {
    [crc32fast::hash(bytes).to_le_bytes().as_slice(), bytes].concat()
}

/// The bytes of a sealed row; none where they are not those that were sealed.
pub(crate) fn opened(row: &[u8]) -> Option<&[u8]> {
    let (sum, bytes) = row.split_first_chunk::<CHECKSUM_BYTES>()?;
    (crc32fast::hash(bytes) == u32::from_le_bytes(*sum)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_noticed() {
        let row = sealed(b"an object");
        assert_eq!(opened(&row), Some(b"an object".as_slice()));
        for bit in 0..row.len() * 8 {
            let mut damaged = row.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(&damaged), None, "bit {bit}");
        }
        assert_eq!(opened(&row[..3]), None);
    }
}
