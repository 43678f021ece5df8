//! The guest examples as bytes, built for their wasm targets by this crate's build script: for the binary's demo, for the
//! tests of the wasm runtime and of whole clusters, and for the bench. Owns nothing else and depends on nothing.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The module of a guest example.
pub fn guest(name: &str) -> Option<&'static [u8]> {
    GUESTS.iter().find(|(guest, _)| *guest == name).map(|(_, module)| *module)
}
