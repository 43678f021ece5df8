//! Every machine of a cluster is replaced by another, one after the other, under writes and requests: all masters, then all nodes.
//!
//! Writers know which masters there are, and clients of the ingress which nodes: as by a load balancer that is told first.

use std::net::SocketAddr;

use tokio::time::Instant;
use wherry_tests::{Machine, get_at, until};

use super::group::Group;
use super::none_lost;
use crate::commands::verb;
use crate::load::Load;
use crate::objects::endpoints_ready;

const HOST: &str = "web.example";

#[test]
fn every_machine_is_replaced_under_load() {
    let mut group = Group::of(3);
    let mut nodes: Vec<Machine> = (1..=2).map(|number| node(&group, number)).collect();
    group.masters[0].load_guest("hello-http").unwrap();
    group.masters[0].apply("default", include_str!("rolling/web.yaml")).unwrap();
    endpoints_ready(&group.masters[0], "default", "web", 4);
    let load = Load::begin(&group.runtime, HOST, nodes.iter().map(|node| ingress(&group, node)).collect());
    let mut writer = group.writer("w");
    let mut acked = writer.until_after(Instant::now());

    for number in 4..=6 {
        let by = group.leader();
        group.join(&char::from(b'a' + number - 1).to_string(), number, by, &[]);
        *writer.clients.lock().unwrap() = group.clients().split_off(1);
        let old = char::from(b'a' + number - 4);
        verb(&group.masters[1], &format!("masters remove {old}"));
        acked.extend(writer.until_after(Instant::now()));
        group.masters[0].terminate().unwrap();
        group.masters.remove(0);
        println!("master {old} is replaced; {} writes, {} requests", acked.len(), load.answered());
    }
    for number in 3..=4 {
        let new = node(&group, number);
        let serves = ingress(&group, &new);
        load.nodes.lock().unwrap().push(serves);
        nodes.push(new);
        let old = format!("n{}", number - 2);
        verb(&group.masters[0], &format!("drain {old} --timeout 60s"));
        load.nodes.lock().unwrap().remove(0);
        // Clients that were on their way to it are done.
        load.until_each_has_asked_again();
        assert_eq!(nodes.remove(0).terminate().unwrap(), Some(0));
        verb(&group.masters[0], &format!("delete node {old}"));
        println!("node {old} is replaced; {} requests", load.answered());
    }
    endpoints_ready(&group.masters[0], "default", "web", 4);
    acked.extend(writer.until_after(Instant::now()));
    acked.extend(writer.end(&group.runtime));
    let (answered, failures) = load.end(&group.runtime);
    println!("{} writes acknowledged, {answered} requests answered, {} failed", acked.len(), failures.len());
    assert!(failures.is_empty(), "{} of {answered} failed: {:?}", failures.len(), failures.first());
    none_lost(&group, &acked);
}

/// A node joins by way of the first master, and knows all.
fn node(group: &Group, number: u8) -> Machine {
    let token = verb(&group.masters[0], "token create");
    let address = format!("127.0.0.{}", 10 + number);
    Machine::join(&group.masters[0], &format!("n{number}"), &address, &token, &[]).unwrap()
}

/// Where a node's ingress is asked, as soon as it serves.
fn ingress(group: &Group, machine: &Machine) -> SocketAddr {
    let address = machine.ingress().unwrap();
    let ask = || group.runtime.block_on(get_at(address, HOST, "/"));
    until("the node's ingress serves", || Ok(ask().ok().filter(|answer| answer.status == 200))).unwrap();
    address
}
