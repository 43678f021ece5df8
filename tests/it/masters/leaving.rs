//! Masters that may not join, that leave, that others replace, and one that is left.

use std::net::TcpListener;

use wherry_tests::{play, refused, until};

use super::group::{Group, start};
use crate::WHERRY;
use crate::commands::{attempt, verb};

#[test]
fn who_may_not_be_a_master_is_told_why() {
    let first = start("a", 1, &[]);
    let good = verb(&first, "token create --master");
    let url = first.server().unwrap();
    let refused = |name: &str, token: &str, more: &[&str], expected: &str| {
        let data = tempfile::tempdir().unwrap();
        let own = ["--name", name, "--bind-address", "127.0.0.2", "--join", &url, "--token", token];
        let (status, error) = refused(WHERRY.as_ref(), "master", data.path(), &[&own, more].concat()).unwrap();
        assert_ne!(status, Some(0));
        assert!(error.contains(expected) && !error.contains("panicked"), "wanted {expected:?} in {error}");
    };
    let (secret, hash) = good.rsplit_once('.').unwrap();
    let other_hash: String = hash.chars().rev().collect();
    let of_nodes = verb(&first, "token create");
    play(&[
        ("a node's token", &|| refused("b", &of_nodes, &[], "the token is for nodes")),
        ("another authority", &|| refused("b", &format!("{secret}.{other_hash}"), &[], "another hash")),
        ("another secret", &|| {
            let wrong = format!("{}.{}.{hash}", secret.split('.').next().unwrap(), "0".repeat(16));
            refused("b", &wrong, &[], "does not know the token");
        }),
        ("other ranges", &|| {
            let range = ["--service-cidr", "10.0.0.0/16"];
            refused("b", &good, &range, "--service-cidr 10.0.0.0/16 is not this cluster's");
        }),
        ("a name that is taken", &|| refused("a", &good, &[], "a master named \"a\" is a member already")),
        ("a cluster of its own", &|| {
            let own = ["--join", url.as_str(), "--token", good.as_str()];
            let other = tempfile::tempdir().unwrap();
            std::fs::create_dir(other.path().join("pki")).unwrap();
            std::fs::copy(first.data().join("pki/ca.key"), other.path().join("pki/ca.key")).unwrap();
            let (_, error) = wherry_tests::refused(WHERRY.as_ref(), "master", other.path(), &own).unwrap();
            assert!(error.contains("holds a cluster of its own"), "{error}");
        }),
        ("a node with a master's token", &|| {
            let data = tempfile::tempdir().unwrap();
            let own = ["--name", "n", "--bind-address", "127.0.0.2", "--join", &url, "--token", &good];
            let (_, error) = wherry_tests::refused(WHERRY.as_ref(), "node", data.path(), &own).unwrap();
            assert!(error.contains("does not know the token"), "{error}");
        }),
    ]);
}

#[test]
fn masters_leave_and_others_come() {
    let mut group = Group::of(3);
    verb(&group.masters[0], "create configmap kept");
    let leader = group.leader();
    let (gone, rest) = ((leader + 1) % 3, (leader + 2) % 3);
    let name = |place: usize| ["a", "b", "c", "d"][place];
    group.masters[gone].kill().unwrap();
    // Of two that are left, none can go: not the one that lives.
    let refusal = until("the leader knows that one is gone", || {
        Ok(attempt(&group.masters[leader], &format!("masters remove {}", name(rest))).err())
    });
    let refusal = refusal.unwrap();
    assert!(refusal.contains("fewer than the majority"), "{refusal}");
    // A new one takes the place of the dead one, asked for at the follower.
    let flag = ["--replace", name(gone)];
    group.join("d", 4, rest, &flag);
    let list = verb(&group.masters[3], "masters list");
    assert!(list.lines().count() == 4 && !list.contains(&format!("\n{} ", name(gone))), "{list}");
    assert_eq!(verb(&group.masters[3], "get configmap kept -o jsonpath={.metadata.name}"), "kept");
    // It starts again without the token, and without anybody else.
    group.masters[3].kill().unwrap();
    group.masters[3].restart().unwrap();
    // One leaves for good, by its name.
    verb(&group.masters[rest], &format!("masters remove {}", name(rest)));
    let list = verb(&group.masters[leader], "masters list");
    assert!(list.lines().count() == 3 && !list.contains(&format!("\n{} ", name(rest))), "{list}");
    // It hears of it, and ends.
    assert_eq!(until("the removed master ends", || group.masters[rest].ended()).unwrap(), Some(1));
    let says_why = || group.masters[rest].errors().contains("was removed from its cluster").then_some(());
    until("it says why", || Ok(says_why())).unwrap();
    // The majority is lost for good: one is enough.
    group.masters[leader].kill().unwrap();
    group.masters[3].kill().unwrap();
    let data = group.masters[3].data().display().to_string();
    verb(&group.masters[3], &format!("restore-alone --data-dir {data}"));
    group.masters[3].restart().unwrap();
    verb(&group.masters[3], "create configmap afterwards");
    assert_eq!(verb(&group.masters[3], "get configmap kept -o jsonpath={.metadata.name}"), "kept");
    let list = verb(&group.masters[3], "masters list");
    assert!(list.lines().count() == 2 && list.contains("d ") && list.contains(" leader "), "{list}");
}

#[test]
fn a_lone_master_grows() {
    // As it was before there could be several: founded by `wherry up`, on any port.
    let mut lone = wherry_tests::Cluster::start(WHERRY).unwrap();
    verb(&lone, "create configmap kept");
    let token = verb(&lone, "token create --master");
    let url = lone.server().unwrap();
    let second = start("b", 2, &["--join", &url, "--token", &token]);
    let port = TcpListener::bind(("127.0.0.3", 0)).unwrap().local_addr().unwrap().port().to_string();
    let third = ["--name", "c", "--bind-address", "127.0.0.3", "--api-port", &port, "--join", &url, "--token", &token];
    // The third has a node too.
    let third = wherry_tests::Cluster::start_with(WHERRY, &third).unwrap();
    for master in [&lone, &second, &third] {
        assert_eq!(verb(master, "get configmap kept -o jsonpath={.metadata.name}"), "kept");
        assert_eq!(verb(master, "get nodes -o name"), "node/c\nnode/wherry");
        assert_eq!(verb(master, "masters list").lines().count(), 4);
    }
    // It comes back at another port while another leads, and the others learn of it.
    lone.kill().unwrap();
    verb(&second, "create configmap meanwhile");
    lone.restart().unwrap();
    let address = lone.server().unwrap().replace("https://", "");
    until("the others know its new port", || {
        Ok(attempt(&second, "masters list").unwrap_or_default().contains(&format!("{address} ")).then_some(()))
    })
    .unwrap();
    assert_eq!(verb(&lone, "get configmap meanwhile -o jsonpath={.metadata.name}"), "meanwhile");
    verb(&lone, "create configmap again");
    assert_eq!(verb(&third, "get configmap again -o jsonpath={.metadata.name}"), "again");
}
