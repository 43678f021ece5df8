//! What somebody types for a container, from a socket of the node into the container's stdin.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use wherry_base::Drain;
use wherry_runtime::Container;

/// Takes what comes from `socket` until its end. Where the container has no stdin, dropping the socket says so.
pub(super) fn take(container: &Arc<dyn Container>, socket: OwnedFd, once: bool, drain: &Drain) {
    let (Some(mut stdin), Ok(mut typed)) = (container.stdin(once), UnixStream::from_std(socket.into())) else { return };
    drain.spawn(async move {
        // The guest need not read to the end.
        let _closed = tokio::io::copy(&mut typed, &mut stdin).await;
        let _closed = stdin.shutdown().await;
    });
}
