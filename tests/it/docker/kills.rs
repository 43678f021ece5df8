//! The agents, then the engine, killed under requests to a Service of Linux containers: none fails but what was half answered, and the
//! containers go on.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::runtime::Runtime;
use wherry_tests::{Machine, get_at};

use super::*;
use crate::load::Load;
use crate::objects::{endpoints_ready, ingress, service};

const HOST: &str = "web.example";
/// Each has two pods, and a Service and a host of its own.
const NODES: [&str; 2] = ["n1", "n2"];
const RULES: &str = "web.example / Prefix web\nn1.example / Prefix n1\nn2.example / Prefix n2";
/// What a client hears of an answer that ends early.
const CUT: &str = "end of file before message length reached";
/// How many requests are answered while something is dead.
const REQUESTS: usize = 200;

#[test]
fn requests_are_answered_while_agents_and_engine_are_killed() {
    let Some(mut engine) = Engine::start_lasting("requests_are_answered_while_agents_and_engine_are_killed") else {
        return;
    };
    let cluster = Cluster::start(WHERRY).unwrap();
    let mut nodes = NODES.map(|name| node(&cluster, &engine, name));
    let pods = NODES.map(|name| include_str!("kills.yaml").replace("NODE", name));
    let routes = [service("web", 8080), ingress("web", RULES, "")];
    cluster.apply("default", &[pods.concat(), routes.concat()].concat()).unwrap();
    endpoints_ready(&cluster, "default", "web", 4);
    let runtime = Runtime::new().unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.ports().unwrap().http));
    let serves = |host: &str| {
        let ask = || runtime.block_on(get_at(address, host, "/"));
        until(&format!("{host} answers"), || Ok(ask().ok().filter(|answer| answer.status == 200))).unwrap();
    };
    serves(HOST);
    let load = Load::begin(&runtime, HOST, vec![address]);
    let under_load = |what: &str| {
        let before = load.answered();
        until(what, || Ok((load.answered() >= before + REQUESTS).then_some(()))).unwrap();
    };
    let before = containers(&engine);
    for (node, name) in nodes.iter_mut().zip(NODES) {
        node.kill().unwrap();
        under_load("an agent is dead");
        node.restart().unwrap();
        serves(&format!("{name}.example"));
        under_load("the agent is back");
        assert_eq!(containers(&engine), before, "the next agent takes them over");
    }
    engine.kill().unwrap();
    under_load("the engine is dead");
    engine.restart().unwrap();
    for node in NODES {
        until("the engine is back", || {
            let path = r#"jsonpath={.status.conditions[?(@.type=="RuntimesReady")].status}"#;
            Ok((ask(&cluster, &["get", "node", node, "-o", path]) == "True").then_some(()))
        })
        .unwrap();
    }
    under_load("the engine is back");
    assert_eq!(containers(&engine), before, "they outlive their engine");
    let (answered, failures) = load.end(&runtime);
    // An answer that had begun when its node was killed cannot be given again.
    let (cut, failed): (Vec<_>, Vec<_>) = failures.into_iter().partition(|failure| failure.contains(CUT));
    println!("{answered} requests answered, {} cut off by a kill, {} failed", cut.len(), failed.len());
    assert!(failed.is_empty(), "{} of {answered} failed: {:?}", failed.len(), failed.first());
}

fn node(cluster: &Cluster, engine: &Engine, name: &str) -> Machine {
    let token = ask(cluster, &["token", "create"]);
    let address = format!("127.0.7.{}", name.trim_start_matches('n'));
    let flags = ["--docker", &engine.socket().display().to_string()];
    let machine = Machine::join(cluster, name, &address, &token, &flags).unwrap();
    let labels = ["get", "node", name, "-o", "jsonpath={.metadata.labels}"];
    until("the node has the engine", || {
        Ok(ask(cluster, &labels).contains(r#""wherry.dev/runtime.docker":"true""#).then_some(()))
    })
    .unwrap();
    machine
}

/// The ids of those that run.
fn containers(engine: &Engine) -> Vec<String> {
    let listed = engine.docker(&["ps", "-q", "--no-trunc"]).unwrap();
    let mut ids: Vec<String> = listed.lines().map(str::to_owned).collect();
    ids.sort_unstable();
    ids
}
