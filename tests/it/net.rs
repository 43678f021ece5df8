//! Traffic while things change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use wherry_api::kinds::Deployment;
use wherry_tests::{Cluster, get, until};

use crate::WHERRY;

/// 200 requests a second, in all.
const CLIENTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);

#[test]
fn a_rolling_update_under_load_fails_no_request() {
    let cluster = Cluster::start_with(WHERRY, &["--demo"]).unwrap();
    until("the demo is up", || Ok(cluster.errors().contains("The demo is up").then_some(()))).unwrap();
    let port = cluster.ports().unwrap().http;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| runtime.spawn(ask(port, Arc::clone(&done), Arc::clone(&asked)))).collect();
    runtime.block_on(roll(&cluster));
    done.store(true, Ordering::Relaxed);
    let failures: Vec<String> = clients.into_iter().flat_map(|client| runtime.block_on(client).unwrap()).collect();
    let asked = asked.load(Ordering::Relaxed);
    assert!(failures.is_empty(), "{} of {asked} requests failed: {:?}", failures.len(), failures.first());
    assert!(asked > 50, "only {asked} requests were made");
}

async fn ask(port: u16, done: Arc<AtomicBool>, asked: Arc<AtomicU32>) -> Vec<String> {
    let mut failures = Vec::new();
    while !done.load(Ordering::Relaxed) {
        asked.fetch_add(1, Ordering::Relaxed);
        match get(port, "myapp.localhost", "/").await {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => failures.push(format!("{} {}", answer.status, answer.body)),
            Err(error) => failures.push(format!("{error:#}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    failures
}

/// Changes the template three times and waits for each rollout.
async fn roll(cluster: &Cluster) {
    let api = cluster.client().unwrap().namespaced::<Deployment>("default");
    for version in 0..3 {
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"version": version.to_string()}}}}});
        api.merge("myapp", &patch).await.unwrap();
        for _ in 0..3000 {
            let deployment = api.get("myapp").await.unwrap();
            if wherry_cli::rollout_state(&deployment) == wherry_cli::RolloutState::Done {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
