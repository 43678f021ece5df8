//! `snapshot`: the cluster's whole state into a file, and back, while it runs.

use std::path::Path;

use anyhow::Context;
use futures::StreamExt;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use wherry_api::routes::SNAPSHOT;
use wherry_client::Https;

use crate::args::SnapshotVerb;

/// Carries out a verb.
pub async fn run(verb: SnapshotVerb) -> anyhow::Result<()> {
    match verb {
        SnapshotVerb::Save { file, cluster } => save(&Https::new(&cluster.load()?)?, &file).await,
        SnapshotVerb::Restore { file, cluster } => restore(&Https::new(&cluster.load()?)?, &file).await,
    }
}

/// The file appears whole or not at all.
async fn save(server: &Https, file: &Path) -> anyhow::Result<()> {
    let unfinished = file.with_extension("unfinished");
    let written = write(server, &unfinished).await;
    let finished = match written {
        Ok(bytes) => tokio::fs::rename(&unfinished, file).await.map(|()| bytes).map_err(Into::into),
        Err(error) => Err(error),
    };
    if finished.is_err() {
        let _ = tokio::fs::remove_file(&unfinished).await;
    }
    let bytes = finished.with_context(|| format!("{} was not written", file.display()))?;
    sayln!("{} saved ({bytes} bytes)", file.display());
    Ok(())
}

async fn write(server: &Https, file: &Path) -> anyhow::Result<usize> {
    let mut pieces = server.stream(SNAPSHOT).await?;
    let mut out = tokio::fs::File::create(file).await?;
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        bytes += piece.len();
        out.write_all(&piece).await?;
    }
    out.sync_all().await?;
    Ok(bytes)
}

async fn restore(server: &Https, file: &Path) -> anyhow::Result<()> {
    let saved = tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let answer = server.call(http::Method::PUT, SNAPSHOT, "application/json", None, saved.into()).await?;
    let (status, _, body) = answer;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if !status.is_success() {
        let message = answer.get("message").and_then(Value::as_str).unwrap_or("the server refused it");
        anyhow::bail!("{} was not restored: {message}", file.display());
    }
    sayln!("{} restored: {} objects were changed", file.display(), answer.get("objects").unwrap_or(&Value::Null));
    Ok(())
}
