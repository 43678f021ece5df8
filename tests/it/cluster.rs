//! Start, demo, stop, and kill -9 at random moments.

use std::collections::BTreeSet;
use std::time::Duration;

use wherry_api::kinds::ConfigMap;
use wherry_client::Client;
use wherry_tests::{Cluster, get, until};

use crate::WHERRY;

/// Rounds of kill -9; the environment variable `WHERRY_KILL_ROUNDS` asks for more.
const KILL_ROUNDS: u32 = 5;
const WRITERS: u32 = 8;

#[test]
fn the_demo_answers_from_four_replicas() {
    let mut cluster = Cluster::start_with(WHERRY, &["--demo"]).unwrap();
    until("the demo is up", || Ok(cluster.errors().contains("The demo is up").then_some(()))).unwrap();
    let port = cluster.ports().unwrap().http;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // A pod is ready a moment before the ingress hears of it.
    until("all four answer", || {
        let answers = (0..8).map(|_| runtime.block_on(get(port, "myapp.localhost", "/")));
        let names: BTreeSet<String> = answers
            .map(|answer| {
                let answer = answer.unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
                answer.body
            })
            .collect();
        Ok((names.len() == 4).then_some(()))
    })
    .unwrap();
    let other = runtime.block_on(get(port, "myapp.localhost", "/other")).unwrap();
    assert!(other.body.contains("Hello from other-"), "{other:?}");
    let nowhere = runtime.block_on(get(port, "nowhere.localhost", "/")).unwrap();
    assert_eq!(nowhere.status, 404);
    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
    cluster.restart().unwrap();
    until("the pods are back", || {
        let answer = runtime.block_on(get(cluster.ports()?.http, "myapp.localhost", "/"))?;
        Ok((answer.status == 200).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let cluster = Cluster::start(WHERRY).unwrap();
    let output = cluster.wherry(&["up", "--data-dir", &cluster.data().display().to_string()]).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("another wherry uses the data directory"), "{error}");
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let rounds = std::env::var("WHERRY_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILL_ROUNDS);
    let mut cluster = Cluster::start(WHERRY).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds {
        let client = cluster.client().unwrap();
        let writers: Vec<_> = (0..WRITERS).map(|writer| runtime.spawn(write(client.clone(), round, writer))).collect();
        // The moment differs from round to round and needs no accuracy.
        std::thread::sleep(Duration::from_millis(u64::from(50 + (round * 37) % 200)));
        cluster.kill().unwrap();
        for writer in writers {
            acknowledged.extend(runtime.block_on(writer).unwrap());
        }
        cluster.restart().unwrap();
        let stored = runtime.block_on(names(&cluster.client().unwrap()));
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
    }
    assert!(acknowledged.len() > usize::try_from(rounds).unwrap(), "the writers wrote");
}

/// Writes until the server is gone; what was acknowledged.
async fn write(client: Client, round: u32, writer: u32) -> Vec<String> {
    let api = client.namespaced::<ConfigMap>("default");
    let mut acknowledged = Vec::new();
    loop {
        let name = format!("k{round}-{writer}-{}", acknowledged.len());
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.clone());
        match tokio::time::timeout(Duration::from_secs(5), api.create(&map)).await {
            Ok(Ok(_)) => acknowledged.push(name),
            Ok(Err(_)) | Err(_) => return acknowledged,
        }
    }
}

async fn names(client: &Client) -> BTreeSet<String> {
    let list = client.namespaced::<ConfigMap>("default").list(wherry_client::ListOptions::default()).await.unwrap();
    list.items.into_iter().filter_map(|map| map.metadata.name).collect()
}
