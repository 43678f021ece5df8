//! Nodes that die or are cut off, on machines of their own: their pods run elsewhere, and nowhere twice.

use std::io::{Read, Write};
use std::net::TcpStream;

use tokio::time::Instant;
use wherry_api::kinds::Pod;
use wherry_client::{Client, ListOptions};
use wherry_tests::{Cluster, Machine, PATIENCE, is_ready, until};

use crate::WHERRY;

const REPLICAS: usize = 3;

#[test]
fn what_a_node_leaves_runs_elsewhere() {
    let flags = ["--node-monitor-grace-period", "2s", "--default-unreachable-toleration-seconds", "1"];
    let cluster = Cluster::start_as("master", WHERRY, &flags).unwrap();
    let client = cluster.client().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pods = || runtime.block_on(ready(&client));
    let token = cluster.wherry(&["token", "create"]).unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    let join = |name: &str, address: &str| Machine::join(&cluster, name, address, token.trim(), &[]).unwrap();
    let (mut first, second) = (join("n1", "127.0.0.2"), join("n2", "127.0.0.3"));
    let _third = join("n3", "127.0.0.4");
    cluster.load_guest("hello-http").unwrap();
    cluster.apply("default", include_str!("failure/web.yaml")).unwrap();
    until("each node has a pod", || Ok(nodes(&pods()).eq(&["n1", "n2", "n3"]).then_some(()))).unwrap();
    // kill -9.
    let began = Instant::now();
    first.kill().unwrap();
    let elsewhere = |lost: &str| {
        let all = pods();
        (all.len() == REPLICAS && !nodes(&all).contains(&lost.to_owned())).then_some(())
    };
    until("the pod of n1 runs elsewhere", || Ok(elsewhere("n1"))).unwrap();
    println!("at full strength {:?} after kill -9 of a node", began.elapsed());
    first.restart().unwrap();
    // SIGSTOP, and SIGCONT long after.
    let pods_before = pods();
    let on_second = pods_before.iter().filter(|(_, node)| node == "n2").map(|(name, _)| name.clone());
    let on_second: Vec<String> = on_second.collect();
    assert!(!on_second.is_empty());
    let began = Instant::now();
    second.pause();
    until("the pods of n2 run elsewhere", || Ok(elsewhere("n2"))).unwrap();
    println!("at full strength {:?} after SIGSTOP of a node", began.elapsed());
    let mut asking = TcpStream::connect(("127.0.0.3", second.ports().unwrap().http)).unwrap();
    asking.set_read_timeout(Some(PATIENCE)).unwrap();
    asking.write_all(b"GET / HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n").unwrap();
    second.resume();
    let mut answer = String::new();
    asking.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    let is_of_old = on_second.iter().any(|name| answer.contains(name.as_str()));
    assert!(!is_of_old, "{on_second:?} served after others had taken over: {answer}");
    until("the pods that n2 had are gone", || {
        let names: Vec<String> =
            runtime.block_on(all(&client)).into_iter().filter_map(|pod| pod.metadata.name).collect();
        Ok((!names.iter().any(|name| on_second.contains(name))).then_some(()))
    })
    .unwrap();
    assert_eq!(pods().len(), REPLICAS);
}

async fn all(client: &Client) -> Vec<Pod> {
    client.namespaced::<Pod>("default").list(ListOptions::default()).await.unwrap().items
}

/// Names and nodes of the pods that are ready, and are not being ended.
async fn ready(client: &Client) -> Vec<(String, String)> {
    let stays = |pod: &Pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
    let place = |pod: Pod| Some((pod.metadata.name?, pod.spec?.node_name?));
    all(client).await.into_iter().filter(stays).filter_map(place).collect()
}

fn nodes(pods: &[(String, String)]) -> Vec<String> {
    let mut nodes: Vec<String> = pods.iter().map(|(_, node)| node.clone()).collect();
    nodes.sort();
    nodes
}
