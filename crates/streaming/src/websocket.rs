//! The server's end of WebSocket (RFC 6455): streams as numbered channels, or one stream of bytes that is a connection itself.
//!
//! The messages are tokio-tungstenite's: it reads them within given bounds and answers pings by itself.

mod channels;
mod tunnel;

pub use channels::{Channels, channels};
pub use tunnel::Tunnel;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// The largest message that is read, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// How much waits to be written before it must be, in bytes.
const WRITE_BYTES: usize = 64 << 10;

/// The server's end over a connection that has agreed to it.
async fn over<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(2 * MESSAGE_BYTES_MAX);
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}
