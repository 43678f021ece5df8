//! `logs`: what a container printed, as it comes.

use std::io::Write;

use futures::StreamExt;
use wherry_client::Https;

use crate::args::LogsArgs;

/// Streams the log to stdout.
pub async fn run(args: LogsArgs) -> anyhow::Result<()> {
    let https = Https::new(&args.cluster.load()?)?;
    let mut chunks = https.stream(&path(&args)).await?;
    let mut out = std::io::stdout();
    while let Some(chunk) = chunks.next().await {
        out.write_all(&chunk?)?;
        out.flush()?;
    }
    Ok(())
}

fn path(args: &LogsArgs) -> String {
    let mut query: Vec<String> = Vec::new();
    query.extend(args.container.as_ref().map(|name| format!("container={name}")));
    query.extend(args.tail.map(|lines| format!("tailLines={lines}")));
    let flags = [("follow", args.follow), ("previous", args.previous), ("timestamps", args.timestamps)];
    query.extend(flags.into_iter().filter(|(_, on)| *on).map(|(flag, _)| format!("{flag}=true")));
    format!("/api/v1/namespaces/{}/pods/{}/log?{}", args.cluster.namespace, args.pod, query.join("&"))
}
