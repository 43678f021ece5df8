//! Header blocks: names and values, compressed with one window for the connection and SPDY's own dictionary.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Section 2.6.10.1 of the draft.
const DICTIONARY: &[u8] = include_bytes!("dictionary.bin");
/// The largest block, decompressed, in bytes.
const BLOCK_BYTES_MAX: usize = 16 * 1024;
/// How many headers a block may have.
const HEADERS_MAX: u32 = 64;

/// Headers of a stream; names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of a header; empty where it is missing.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Headers {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

/// Reads blocks, in the order in which they came.
pub(super) struct Inflater(Decompress);

/// Writes blocks, in the order in which they go.
pub(super) struct Deflater(Compress);

impl Inflater {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn read(&mut self, block: &[u8]) -> io::Result<Headers> {
        parse(&self.inflate(block)?).ok_or_else(|| bad("a block of headers is malformed"))
    }

    fn inflate(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(BLOCK_BYTES_MAX);
        let mut rest = block;
        while !rest.is_empty() {
            let before = (self.0.total_in(), self.0.total_out());
            let inflated = self.0.decompress_vec(rest, &mut out, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before.0).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            match inflated {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(DICTIONARY).map_err(|_| bad("headers with another dictionary"))?;
                }
                Err(_) | Ok(Status::StreamEnd) => return Err(bad("a block of headers cannot be decompressed")),
                Ok(_) if (self.0.total_in(), self.0.total_out()) == before => {
                    return Err(bad("a block of headers is too large"));
                }
                Ok(_) => {}
            }
        }
        Ok(out)
    }
}

impl Deflater {
    pub(super) fn new() -> io::Result<Self> {
        let mut compress = Compress::new(Compression::fast(), true);
        compress.set_dictionary(DICTIONARY).map_err(io::Error::other)?;
        Ok(Self(compress))
    }

    pub(super) fn write(&mut self, headers: &Headers) -> io::Result<Vec<u8>> {
        let plain = print(headers);
        let mut out = Vec::with_capacity(plain.len() + 64);
        let start = self.0.total_in();
        loop {
            let taken = usize::try_from(self.0.total_in() - start).unwrap_or(usize::MAX);
            let rest = plain.get(taken..).unwrap_or_default();
            self.0.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
            if out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(out.len());
        }
    }
}

fn print(headers: &Headers) -> Vec<u8> {
    let mut out = Vec::new();
    let number = |out: &mut Vec<u8>, n: usize| out.extend(u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes());
    number(&mut out, headers.0.len());
    for text in headers.0.iter().flat_map(|(name, value)| [name, value]) {
        number(&mut out, text.len());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn parse(mut block: &[u8]) -> Option<Headers> {
    let count = number(&mut block)?;
    if count > HEADERS_MAX {
        return None;
    }
    let pairs = (0..count).map(|_| Some((text(&mut block)?.to_ascii_lowercase(), text(&mut block)?)));
    pairs.collect::<Option<_>>().map(Headers)
}

fn number(block: &mut &[u8]) -> Option<u32> {
    let (number, rest) = block.split_first_chunk()?;
    *block = rest;
    Some(u32::from_be_bytes(*number))
}

fn text(block: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(number(block)?).ok()?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    String::from_utf8(text.to_vec()).ok()
}

fn bad(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_of_a_connection_come_back(
            blocks in prop::collection::vec(prop::collection::vec(("[a-z-]{1,12}", "[ -~]{0,40}"), 0..6), 1..6)
        ) {
            let (mut deflater, mut inflater) = (Deflater::new().unwrap(), Inflater::new());
            for headers in blocks.into_iter().map(Headers) {
                prop_assert_eq!(inflater.read(&deflater.write(&headers).unwrap()).unwrap(), headers);
            }
        }

        #[test]
        fn garbage_is_an_error_or_headers(block in prop::collection::vec(any::<u8>(), 0..200)) {
            let _either = Inflater::new().read(&block);
            let _either = parse(&block);
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let large = Headers(vec![("a".into(), "0".repeat(BLOCK_BYTES_MAX))]);
        let block = Deflater::new().unwrap().write(&large).unwrap();
        assert!(block.len() < 1024, "{} bytes", block.len());
        assert_eq!(Inflater::new().read(&block).unwrap_err().to_string(), "a block of headers is too large");
    }

    /// The first block of a stock client (spdystream): with the dictionary, as Go's zlib writes it.
    #[test]
    fn the_dictionary_is_spdys_own() {
        let headers = Headers::from([("streamtype", "error")]);
        let block = Deflater::new().unwrap().write(&headers).unwrap();
        // CMF and FLG with FDICT set, then the Adler-32 of the dictionary, which the draft's is known by.
        assert_eq!(block.get(1).unwrap() & 0x20, 0x20);
        assert_eq!(block.get(2..6).unwrap(), [0xe3, 0xc6, 0xa7, 0xc2]);
    }
}
