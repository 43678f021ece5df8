//! Several masters as processes of their own: what one acknowledges all have, whoever dies; how masters come and go.

mod five;
pub mod group;
mod kills;
mod leaving;
mod partitions;
mod rolling;
mod watching;

use std::collections::BTreeSet;

use wherry_api::kinds::{ConfigMap, EndpointSlice, Lease};
use wherry_client::ListOptions;
use wherry_tests::{Kubectl, play, until};

use self::group::{Ack, Group};
use crate::commands::{attempt, verb};

#[test]
fn each_of_three_masters_serves_everything() {
    let group = Group::of(3);
    let group = &group;
    let leader = group.leader();
    println!("{}", verb(&group.masters[0], "masters list"));
    play(&[
        ("they agree who they are", &|| {
            // How far they are behind is the leader's knowledge, and changes.
            let who = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
            let told = |master| verb(master, "masters list").lines().map(who).collect::<Vec<_>>().join("; ");
            let told: BTreeSet<String> = group.masters.iter().map(told).collect();
            assert_eq!(told.len(), 1, "{told:?}");
        }),
        ("the API's endpoints are all of them", &|| {
            let expected = group.addresses();
            until("the endpoints are those of the masters", || Ok((endpoints(group) == expected).then_some(())))
                .unwrap();
        }),
        ("what one takes all show at once", &|| {
            for (place, master) in group.masters.iter().enumerate() {
                let name = format!("by-{place}");
                verb(master, &format!("create configmap {name} --from-literal=by={place}"));
                for other in &group.masters {
                    assert_eq!(
                        verb(other, &format!("get configmap {name} -o jsonpath={{.data.by}}")),
                        place.to_string()
                    );
                }
            }
        }),
        ("leases and events are the leader's, and shown by all", &|| {
            let manifest =
                "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: held}\nspec: {holderIdentity: me}";
            group.masters[(leader + 1) % 3].apply("default", manifest).unwrap();
            for master in &group.masters {
                let leases = group
                    .runtime
                    .block_on(master.client().unwrap().namespaced::<Lease>("default").list(ListOptions::default()));
                assert_eq!(leases.unwrap().items.len(), 1);
            }
        }),
        ("kubectl", &|| {
            for (place, master) in group.masters.iter().enumerate() {
                let Some(kubectl) = Kubectl::of(master) else {
                    return println!("SKIPPED: kubectl is not installed");
                };
                let run = |line: &str| {
                    let printed = kubectl.run(&line.split(' ').collect::<Vec<_>>()).unwrap();
                    assert!(printed.ok, "{line}: {}", printed.err);
                    printed.out
                };
                let name = format!("kubectl-{place}");
                run(&format!("create deployment {name} --image hello-http:v1 --replicas 0"));
                run(&format!("scale deployment {name} --replicas 1"));
                assert!(run(&format!("get deployment {name}")).contains("0/1"));
                run(&format!("delete deployment {name}"));
                assert!(run("get leases -A").contains("held") || run("get leases -A").is_empty());
            }
        }),
    ]);
    restored_by_a_follower(group, (leader + 1) % 3);
}

/// A saved state is restored by way of any; it would take back what others are about.
fn restored_by_a_follower(group: &Group, follower: usize) {
    let follower = &group.masters[follower];
    let file = follower.data().join("state.snapshot").display().to_string();
    verb(follower, &format!("snapshot save {file}"));
    verb(follower, "create configmap later");
    assert!(verb(follower, &format!("snapshot restore {file}")).contains("restored"));
    for master in &group.masters {
        let found = attempt(master, "get configmap later").unwrap_err();
        assert!(found.contains("not found"), "{found}");
    }
}

/// The addresses of the API, as its own Service has them.
fn endpoints(group: &Group) -> BTreeSet<String> {
    let client = group.masters[0].client().unwrap();
    let options = ListOptions { labels: "kubernetes.io/service-name=kubernetes".into(), ..ListOptions::default() };
    let slices = group.runtime.block_on(client.namespaced::<EndpointSlice>("default").list(options)).unwrap().items;
    let addresses = slices.iter().flat_map(|slice| {
        let port = slice.ports.as_ref().unwrap()[0].port.unwrap();
        slice
            .endpoints
            .iter()
            .flatten()
            .flat_map(move |e| e.addresses.iter().map(move |address| format!("{address}:{port}")))
    });
    addresses.collect()
}

/// Sees that every master shows all that was acknowledged.
fn none_lost(group: &Group, acked: &[Ack]) {
    for client in group.clients() {
        let shown = group.runtime.block_on(names(&client));
        let lost: Vec<&String> = acked.iter().map(|ack| &ack.name).filter(|name| !shown.contains(*name)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
}

/// The names of the ConfigMaps that a master shows.
async fn names(master: &wherry_client::Client) -> BTreeSet<String> {
    let list = master.namespaced::<ConfigMap>("default").list(ListOptions::default()).await.unwrap();
    list.items.into_iter().filter_map(|map| map.metadata.name).collect()
}
