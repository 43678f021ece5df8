//! `snapshot`: the cluster's whole state into a file, and back, while it runs.

use std::path::Path;

use anyhow::{Context, ensure};
use futures::StreamExt;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use wherry_api::routes::{MASTERS, SNAPSHOT};
use wherry_client::{Https, Kubeconfig, refusal};

use crate::args::SnapshotVerb;
use crate::cluster::read;
use crate::objects::text;

/// Carries out a verb.
pub async fn run(verb: SnapshotVerb) -> anyhow::Result<()> {
    match verb {
        SnapshotVerb::Save { file, cluster } => save(&Https::new(&cluster.load()?)?, &file).await,
        SnapshotVerb::Restore { file, cluster } => restore(&leader(cluster.load()?).await?, &file).await,
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

/// The master that decides: a state may be large, and no other passes it on. One that is alone is asked where it was found.
async fn leader(kubeconfig: Kubeconfig) -> anyhow::Result<Https> {
    let any = Https::new(&kubeconfig)?;
    let answer = read(&any, MASTERS).await?;
    let masters = answer.get("masters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if masters.len() <= 1 {
        return Ok(any);
    }
    let address = leaders_address(masters);
    ensure!(!address.is_empty(), "no master leads at present; try again");
    Ok(Https::new(&Kubeconfig { servers: vec![format!("https://{address}")], ..kubeconfig })?)
}

fn leaders_address(masters: &[Value]) -> &str {
    masters.iter().find(|master| text(master, "/role") == "leader").map_or("", |leader| text(leader, "/address"))
}

async fn restore(server: &Https, file: &Path) -> anyhow::Result<()> {
    let saved = tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let answer = server.call(http::Method::PUT, SNAPSHOT, "application/json", None, saved.into()).await?;
    let (status, _, body) = answer;
    ensure!(status.is_success(), "{} was not restored: {}", file.display(), refusal(status, &body));
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    sayln!("{} restored: {} objects were changed", file.display(), answer.get("objects").unwrap_or(&Value::Null));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_leader_is_found_where_there_is_one() {
        let voter = json!({"role": "voter", "address": "127.0.0.1:1"});
        assert_eq!(leaders_address(std::slice::from_ref(&voter)), "");
        assert_eq!(leaders_address(&[voter, json!({"role": "leader", "address": "127.0.0.2:1"})]), "127.0.0.2:1");
    }
}
