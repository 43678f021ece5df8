//! SPDY/3.1, as far as Kubernetes' clients speak it: streams with headers, half-close, reset, ping and goodbye.
//!
//! Follows the draft "SPDY Protocol - Draft 3.1" and github.com/moby/spdystream, which both ends of Kubernetes use. Flow
//! control has no part in it: spdystream sends no WINDOW_UPDATE and heeds none, so that a sender which waited for one would
//! stand still. What a stream's reader does not take makes the whole connection wait, as it does there.

mod connection;
mod frame;
mod headers;
#[cfg(test)]
mod tests;

pub use connection::{Connection, Incoming, STREAMS_MAX, Stream, client, server};
pub use headers::Headers;
