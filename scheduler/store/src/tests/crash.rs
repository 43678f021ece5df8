//! Power failures and broken disks.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;
use wherry_api::{ObjectKey, resource::find};
use wherry_base::Rng;

use super::disk::Disk;
use super::{create, dump, pods, put};
use crate::{Command, Encoded, Expect, Limits, ProposeError, Revision, Store};

fn names(store: &Store) -> BTreeSet<String> {
    store.snapshot(pods()).objects.keys().map(|key| key.name.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_power_failures() {
    for seed in 0..8 {
        let rng = Rng::seeded(seed);
        let mut disk = Disk::default();
        let mut acknowledged = BTreeSet::new();
        let mut last = Revision(0);
        for round in 0..4 {
            let store = disk.open().unwrap();
            assert!(names(&store).is_superset(&acknowledged), "seed {seed}, round {round}");
            assert!(store.revision() >= last, "seed {seed}, round {round}");
            let name = |i: usize| format!("{round}-{i}");
            for i in 0..10 + rng.below(20) {
                last = create(&store, &name(i)).await.revision;
                acknowledged.insert(name(i));
            }
            // These are on their way when the power fails.
            let late: Vec<String> = (100..100 + rng.below(40)).map(name).collect();
            let writer = store.clone();
            let mut writes = JoinSet::new();
            writes.spawn(async move {
                join_all(late.iter().map(|name| writer.propose(put(name, Expect::Absent, "late")))).await
            });
            for _ in 0..rng.below(50) {
                tokio::task::yield_now().await;
            }
            let failed = disk.after_power_failure(&rng);
            writes.join_all().await;
            disk = failed;
        }
    }
}

#[tokio::test]
async fn replaying_twice_gives_the_same_bytes() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    for i in 0..50 {
        let made = create(&store, &format!("p{i}")).await;
        if i % 3 == 0 {
            store.propose(super::delete(&format!("p{i}"), made.revision)).await.unwrap();
        }
    }
    let lines = |store: &Store| dump(store).split_once('\n').unwrap().1.to_owned();
    let before = lines(&store);
    let failed = disk.after_power_failure(&Rng::seeded(3));
    let again = failed.after_power_failure(&Rng::seeded(4));
    for disk in [failed, again] {
        assert_eq!(lines(&disk.open().unwrap()), before);
        assert_eq!(lines(&disk.open().unwrap()), before);
    }
}

fn lease(name: &str) -> Command {
    let object = Encoded::new(&json!({"metadata": {"name": name}}));
    let resource = find("coordination.k8s.io", "v1", "leases").unwrap();
    Command::Put { resource, key: ObjectKey::new("ns", name), expect: Expect::Absent, object }
}

#[tokio::test]
async fn volatile_objects_outlive_a_store_that_ends_well() {
    let leases = find("coordination.k8s.io", "v1", "leases").unwrap();
    let disk = Disk::default();
    let revision = {
        let store = disk.open().unwrap();
        store.propose(lease("a")).await.unwrap().revision
    };
    for _ in 0..2 {
        let store = disk.open().unwrap();
        assert_eq!((store.revision(), store.snapshot(leases).objects.len()), (revision, 1));
    }
}

#[tokio::test]
async fn revisions_of_volatile_objects_are_never_used_again() {
    let leases = find("coordination.k8s.io", "v1", "leases").unwrap();
    let disk = Disk::default();
    let store = disk.open().unwrap();
    create(&store, "a").await;
    let mut revision = Revision(0);
    for i in 0..100 {
        revision = store.propose(lease(&format!("lease-{i}"))).await.unwrap().revision;
    }
    let failed = disk.after_power_failure(&Rng::seeded(5)).open().unwrap();
    assert!(failed.revision() >= revision);
    assert!(create(&failed, "b").await.revision > revision);
    assert!(failed.watch(leases, revision).is_err(), "a client that saw the lost leases must list again");
}

#[tokio::test]
async fn a_broken_disk_refuses_and_a_mended_one_goes_on() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    create(&store, "a").await;
    let before = dump(&store);
    disk.set_broken(true);
    for _ in 0..2 {
        let refused = store.propose(put("b", Expect::Absent, "x")).await;
        assert!(matches!(refused, Err(ProposeError::Disk(_))), "{refused:?}");
    }
    assert_eq!(dump(&store), before);
    disk.set_broken(false);
    create(&store, "c").await;
    drop(store);
    assert_eq!(names(&disk.open().unwrap()).into_iter().collect::<Vec<_>>(), ["a", "c"]);
}

#[tokio::test]
async fn more_writes_than_may_wait_are_refused_at_once() {
    let disk = Disk::default();
    let store = disk.open_with(Limits { commands_waiting_max: 2, ..Limits::default() }).unwrap();
    let stalled = disk.stall();
    // More than one group takes, so that some must wait behind it.
    let writes = (0..2000).map(|i| store.propose(put(&i.to_string(), Expect::Absent, "x"))).collect::<Vec<_>>();
    let (results, ()) = tokio::join!(join_all(writes), async { drop(stalled) });
    let refused = results.iter().filter(|result| matches!(result, Err(ProposeError::Overloaded))).count();
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    assert!(refused > 0 && refused + accepted == results.len(), "{refused} refused, {accepted} accepted");
    assert_eq!(names(&store).len(), accepted);
}
