//! `port-forward`: ports of this machine that lead to ports of a pod.

use std::net::IpAddr;

use anyhow::{Context, bail};
use futures::stream::{self, FuturesUnordered, SelectAll};
use futures::{Stream, StreamExt};
use http::Method;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use wherry_api::kinds::{Kind, Service};
use wherry_client::Https;
use wherry_streaming::port_forward::{Forwarded, PROTOCOL, copy, open};
use wherry_streaming::{request_headers, spdy};

use crate::args::PortForwardArgs;
use crate::objects::{Objects, one_target, text};
use crate::pods::one_pod;

/// The longest error that is shown, in bytes.
const MESSAGE_BYTES_MAX: u64 = 4096;

/// A port here and one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    local: u16,
    remote: u16,
}

/// Forwards until the pod or this program ends.
pub async fn run(args: PortForwardArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let pod = one_pod(&client, &args.cluster.namespace, &args.what).await?;
    let service = match one_target(std::slice::from_ref(&args.what)) {
        Ok((resource, name)) if std::ptr::eq(resource, Service::resource()) => {
            Some(Objects::new(&client, resource, Some(&args.cluster.namespace)).get(&name).await?)
        }
        _ => None,
    };
    let pairs = args.ports.iter().map(|text| pair(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut connections = SelectAll::new();
    for Pair { local, remote } in pairs {
        let target = service.as_ref().map_or(Ok(remote), |service| target_port(service, &pod, remote))?;
        for address in &args.address {
            connections.push(listen(*address, local, target).await?.boxed());
        }
    }
    let (namespace, name) = (&args.cluster.namespace, text(&pod, "/metadata/name"));
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/portforward");
    let https = Https::new(&args.cluster.load()?)?;
    let upgraded = https.upgrade(Method::POST, &path, request_headers(PROTOCOL)).await?;
    let (connection, driver) = spdy::client(upgraded.io);
    tokio::select! {
        () = forward(&connection, connections) => Ok(()),
        () = driver => bail!("lost connection to pod"),
    }
}

/// Reads `8080`, `8080:80` or `:80`.
fn pair(text: &str) -> anyhow::Result<Pair> {
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let number = |word: &str| word.parse::<u16>().with_context(|| format!("\"{text}\" is not [LOCAL:]REMOTE"));
    let pair = Pair { local: if local.is_empty() { 0 } else { number(local)? }, remote: number(remote)? };
    if pair.remote == 0 { bail!("remote port must be > 0") } else { Ok(pair) }
}

/// The port of a pod that a Service's port stands for.
fn target_port(service: &Value, pod: &Value, port: u16) -> anyhow::Result<u16> {
    let list = |value: &Value, pointer: &str| -> Vec<Value> {
        value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let ports = list(service, "/spec/ports");
    let own = ports.iter().find(|own| own.get("port").and_then(Value::as_u64) == Some(port.into()));
    let own = own.with_context(|| format!("the service has no port {port}"))?;
    let number = match own.get("targetPort") {
        None | Some(Value::Null) => Some(u64::from(port)),
        Some(Value::String(name)) => {
            let all = list(pod, "/spec/containers");
            let named = all.iter().flat_map(|container| list(container, "/ports"));
            let mut named = named.filter(|port| text(port, "/name") == name);
            named.next().and_then(|port| port.get("containerPort")?.as_u64())
        }
        Some(number) => number.as_u64(),
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.with_context(|| format!("the pod has no port that the service's port {port} stands for"))
}

/// The connections that are made to a port here, each with both ports.
async fn listen(address: IpAddr, local: u16, remote: u16) -> anyhow::Result<impl Stream<Item = (TcpStream, Pair)>> {
    let listener = TcpListener::bind((address, local)).await;
    let listener = listener.with_context(|| format!("unable to listen on port {local} of {address}"))?;
    let local = listener.local_addr()?.port();
    sayln!("Forwarding from {} -> {remote}", std::net::SocketAddr::new(address, local));
    let accepted = stream::unfold(listener, |listener| async move { Some((listener.accept().await, listener)) });
    let accepted = accepted.filter_map(async |accepted| accepted.ok());
    Ok(accepted.map(move |(stream, _)| (stream, Pair { local, remote })))
}

async fn forward(connection: &spdy::Connection, mut connections: impl Stream<Item = (TcpStream, Pair)> + Unpin) {
    let mut forwarded = FuturesUnordered::new();
    let mut number = 0;
    loop {
        tokio::select! {
            Some((stream, pair)) = connections.next() => {
                sayln!("Handling connection for {}", pair.local);
                forwarded.push(one(connection, stream, pair, number));
                number += 1;
            }
            Some(()) = forwarded.next() => {}
            else => return,
        }
    }
}

/// One connection, to its end.
async fn one(connection: &spdy::Connection, stream: TcpStream, pair: Pair, number: u64) {
    if let Err(error) = carry(connection, stream, pair, number).await {
        eprintln!("error: an error occurred forwarding {} -> {}: {error:#}", pair.local, pair.remote);
    }
}

async fn carry(connection: &spdy::Connection, stream: TcpStream, pair: Pair, number: u64) -> anyhow::Result<()> {
    let Forwarded { mut data, error } = open(connection, pair.remote, number).await?;
    let broken = data.broken.clone();
    let mut message = String::new();
    let mut error = error.reader.take(MESSAGE_BYTES_MAX);
    let told = async {
        error.read_to_string(&mut message).await?;
        if message.is_empty() { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
    };
    let copied = tokio::select! {
        copied = async { tokio::try_join!(copy(&mut data, stream), told).map(drop) } => copied,
        () = broken.cancelled() => Ok(()),
    };
    if !message.is_empty() {
        bail!(message);
    }
    if copied.is_err() {
        data.reset().await;
    }
    Ok(copied?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pairs_are_read_as_kubectl_reads_them() {
        for (text, expected) in [("80", Some((80, 80))), ("8080:80", Some((8080, 80))), (":80", Some((0, 80)))] {
            assert_eq!(pair(text).ok().map(|pair| (pair.local, pair.remote)), expected, "{text}");
        }
        for text in ["", ":", "0", "80:0", "x", "80:x", "70000"] {
            assert!(pair(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_services_port_stands_for_a_pods() {
        let service = json!({"spec": {"ports": [
            {"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "web"}, {"port": 82}, {"port": 83, "targetPort": "none"},
        ]}});
        let pod = json!({"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 9090}]}]}});
        for (port, expected) in [(80, Some(8080)), (81, Some(9090)), (82, Some(82)), (83, None), (84, None)] {
            assert_eq!(target_port(&service, &pod, port).ok(), expected, "{port}");
        }
    }
}
