//! Who types for a container, or looks on at its terminal, over a socket of the node.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use wherry_base::Drain;
use wherry_runtime::{AttachSpec, Attached, Container};

/// Takes what comes from `socket` until its end. Where the container has no stdin, dropping the socket says so.
pub(super) fn take(container: &Arc<dyn Container>, socket: OwnedFd, once: bool, drain: &Drain) {
    let (Some(mut stdin), Ok(mut typed)) = (container.stdin(once), UnixStream::from_std(socket.into())) else { return };
    drain.spawn(async move {
        // The guest need not read to the end.
        let _closed = tokio::io::copy(&mut typed, &mut stdin).await;
        let _closed = stdin.shutdown().await;
    });
}

/// Joins whoever has the other end of `socket` to the container's terminal, until one of them is gone. Where the container has
/// none, dropping the socket says so.
pub(super) fn join(container: &Arc<dyn Container>, socket: OwnedFd, stdin: bool, drain: &Drain) {
    let (container, Ok(socket)) = (Arc::clone(container), UnixStream::from_std(socket.into())) else { return };
    drain.spawn(async move {
        let Ok(attached) = container.attach(AttachSpec { stdin, tty: true }).await else { return };
        drop(container);
        couple(attached, socket).await;
    });
}

async fn couple(Attached { stdin, mut output, .. }: Attached, socket: UnixStream) {
    let (mut typed, mut shown) = socket.into_split();
    let typing = async {
        if let Some(mut stdin) = stdin {
            let _closed = tokio::io::copy(&mut typed, &mut stdin).await;
            let _closed = stdin.shutdown().await;
        }
        std::future::pending::<()>().await;
    };
    let showing = async {
        while let Some(Ok((_, chunk))) = output.next().await
            && shown.write_all(&chunk).await.is_ok()
        {}
    };
    tokio::select! {
        () = typing => {}
        () = showing => {}
    }
}
