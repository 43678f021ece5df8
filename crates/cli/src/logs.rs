//! `logs`: what containers printed, as it comes: of one pod, of a pod of a deployment, or of all pods with a label.

use anyhow::bail;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use wherry_api::kinds::{Kind, Pod};
use wherry_client::{Client, Https, ListOptions};

use crate::args::LogsArgs;
use crate::objects::{Objects, text};
use crate::pods::{container_names, default_container, one_pod, out_of};
use crate::say::say_bytes;

/// How many lines of each container are shown where a selector picks the pods and nothing else is said.
const SELECTED_TAIL_LINES: i64 = 10;
/// How many containers are followed at once.
const FOLLOWED_MAX: usize = 64;

/// A container's log and what stands before its lines.
struct Source {
    path: String,
    prefix: String,
}

/// Streams the logs to stdout.
pub async fn run(args: LogsArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let mut sources = Vec::new();
    for pod in pods(&args, &client).await? {
        for container in containers(&args, &pod)? {
            let prefix = format!("[pod/{}/{container}] ", text(&pod, "/metadata/name"));
            let prefix = if args.prefix { prefix } else { String::new() };
            sources.push(Source { path: path(&args, text(&pod, "/metadata/name"), &container), prefix });
        }
    }
    if sources.len() > FOLLOWED_MAX {
        bail!("{} containers are selected, more than {FOLLOWED_MAX}; select fewer", sources.len());
    }
    let https = Https::new(&args.cluster.load()?)?;
    let mut logs = Vec::new();
    for source in sources {
        let chunks = https.stream(&source.path).await?;
        logs.push(lines(chunks, source.prefix));
    }
    if args.follow {
        print(futures::stream::select_all(logs).boxed()).await
    } else {
        print(futures::stream::iter(logs).flatten().boxed()).await
    }
}

async fn print(mut chunks: BoxStream<'_, anyhow::Result<Vec<u8>>>) -> anyhow::Result<()> {
    while let Some(chunk) = chunks.next().await {
        say_bytes(&chunk?);
    }
    Ok(())
}

/// The chunks of a log as whole lines, so that those of several containers do not mix; a last, unended one comes as it is.
fn lines(
    chunks: BoxStream<'static, Result<Bytes, wherry_api::Error>>,
    prefix: String,
) -> BoxStream<'static, anyhow::Result<Vec<u8>>> {
    let ended = chunks.map(Some).chain(futures::stream::iter([None]));
    let whole = ended.scan(Vec::new(), move |carry: &mut Vec<u8>, chunk| {
        let out = match chunk {
            Some(Ok(chunk)) => {
                carry.extend_from_slice(&chunk);
                let end = carry.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                let rest = carry.split_off(end);
                Ok(prefixed(&std::mem::replace(carry, rest), &prefix))
            }
            Some(Err(error)) => Err(error.into()),
            None => Ok(prefixed(&std::mem::take(carry), &prefix)),
        };
        std::future::ready(Some(out))
    });
    whole.filter(|piece| std::future::ready(piece.as_ref().map_or(true, |bytes| !bytes.is_empty()))).boxed()
}

fn prefixed(lines: &[u8], prefix: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(line);
    }
    out
}

/// The pods whose logs are wanted.
async fn pods(args: &LogsArgs, client: &Client) -> anyhow::Result<Vec<Value>> {
    let namespace = &args.cluster.namespace;
    let pods = Objects::new(client, Pod::resource(), Some(namespace));
    let selected = async |labels: String| pods.list(ListOptions { labels, ..ListOptions::default() }).await;
    if let Some(labels) = &args.selector {
        let found = selected(labels.clone()).await?;
        if found.is_empty() {
            eprintln!("No resources found in {namespace} namespace.");
        }
        return Ok(found);
    }
    let what = args.what.as_deref().unwrap_or_default();
    Ok(vec![one_pod(client, namespace, what).await?])
}

/// The containers of a pod whose logs are wanted.
fn containers(args: &LogsArgs, pod: &Value) -> anyhow::Result<Vec<String>> {
    let (main, init) = container_names(pod);
    if args.all_containers {
        return Ok([init, main].concat());
    }
    if let Some(name) = &args.container {
        if !init.contains(name) && !main.contains(name) {
            let (pod, all) = (text(pod, "/metadata/name"), out_of(&main, &init));
            bail!("container {name} is not valid for pod {pod}; it has {all}");
        }
        return Ok(vec![name.clone()]);
    }
    Ok(vec![default_container(pod, args.selector.is_none())?])
}

fn path(args: &LogsArgs, pod: &str, container: &str) -> String {
    let mut query = vec![format!("container={container}")];
    let tail = args.tail.or(args.selector.is_some().then_some(SELECTED_TAIL_LINES));
    query.extend(tail.filter(|lines| *lines >= 0).map(|lines| format!("tailLines={lines}")));
    query.extend(args.since.map(|since| format!("sinceSeconds={}", since.as_secs().max(1))));
    query.extend(args.since_time.map(|time| format!("sinceTime={time}")));
    query.extend(args.limit_bytes.map(|bytes| format!("limitBytes={bytes}")));
    let flags = [("follow", args.follow), ("previous", args.previous), ("timestamps", args.timestamps)];
    query.extend(flags.into_iter().filter(|(_, on)| *on).map(|(flag, _)| format!("{flag}=true")));
    format!("/api/v1/namespaces/{}/pods/{pod}/log?{}", args.cluster.namespace, query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_of_several_containers_stay_whole() {
        let chunks = ["one\ntw", "o\nthr", "ee"].map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())));
        let lines = lines(futures::stream::iter(chunks).boxed(), "p ".to_owned());
        let pieces: Vec<Vec<u8>> = lines.map(|piece| piece.unwrap()).collect().await;
        assert_eq!(pieces, [b"p one\n".to_vec(), b"p two\n".to_vec(), b"p three".to_vec()]);
    }
}
