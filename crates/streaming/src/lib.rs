//! What `kubectl exec`, `attach`, `cp` and `port-forward` speak once HTTP has made way: several streams over one connection,
//! in SPDY/3.1 frames, in WebSocket messages, or in SPDY frames within WebSocket messages.
//!
//! Owns the wire of both ends, and no task: a connection is driven by whoever awaits its work. Knows no pods, containers or
//! users. Everything that waits is bounded; who does not read stops the other end, as TCP does.

mod close;
mod idle;
mod negotiate;
mod pipe;
pub mod port_forward;
pub mod remote_command;
pub mod spdy;
pub mod websocket;

pub use idle::Idle;
pub use negotiate::{Agreed, Form, Refused, SPDY, STREAM_PROTOCOLS, negotiate, request_headers};
pub use pipe::{BoxWriter, CHUNK_BYTES_MAX, Reader};

use std::time::Duration;

/// How long a connection may carry nothing before it is ended: a kubelet's default.
pub const IDLE_MAX: Duration = Duration::from_secs(4 * 3600);
/// How long a client may take to open the streams that it has announced: a kubelet's default.
pub const OPENING_MAX: Duration = Duration::from_secs(30);
