//! What a process waits for: a node that is ready, and its own end.

use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use wherry_api::kinds::Node;
use wherry_base::Backoff;
use wherry_client::{Client, Event, WatchOptions};

use super::RETRY;

/// Does its work, tells what went wrong in it, and resolves on SIGINT or SIGTERM; or with the reason `why` it cannot go on.
pub async fn until_stopped(
    work: impl Future<Output = anyhow::Result<()>>,
    why: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let work = async {
        if let Err(error) = work.await {
            eprintln!("error: {error:#}");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = work => Ok(()),
        () = stopped => {
            eprintln!("stopping; the pods come back at the next start");
            Ok(())
        }
        error = why => Err(error),
    }
}

/// Waits until a node is ready: the one of that name, or any.
pub async fn await_node(client: &Client, name: Option<&str>) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while let Err(error) = node_ready(client, name).await {
        tracing::debug!(%error, "the masters do not know a node yet");
        tokio::time::sleep(backoff.fail()).await;
    }
}

async fn node_ready(client: &Client, name: Option<&str>) -> anyhow::Result<()> {
    let fields = name.map(|name| format!("metadata.name={name}")).unwrap_or_default();
    let mut watch = client.all::<Node>().watch(WatchOptions { fields, ..WatchOptions::default() }).await?;
    while let Some(event) = watch.next().await {
        if let Event::Applied(node) = event?
            && is_ready(&node)
        {
            return Ok(());
        }
    }
    anyhow::bail!("the watch of nodes ended")
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
