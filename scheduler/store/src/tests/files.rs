//! What is on the disk: files of older releases, damaged ones, saved ones, and disks that are full.

use std::path::Path;
use std::sync::Arc;

use redb::{Database, TableDefinition};
use serde_json::json;
use wherry_api::{ObjectKey, resource::find};
use wherry_base::Rng;

use super::disk::Disk;
use super::{create, delete, dump, pods, put, told};
use crate::disk::log::Log;
use crate::disk::record;
use crate::{Assembly, Encoded, Entry, Expect, Index, Limits, OpenError, ProposeError, RestoreError, Revision, Store};

/// A directory as the release before the replicated log left it: two pods and a lease in the state, and in the log
/// behind it a third pod and the removal of the first; revisions up to 16,384 were reserved.
fn write_format_1(directory: &Path) {
    const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
    let leases = find("coordination.k8s.io", "v1", "leases").unwrap();
    let entry = |name: &str, revision: u64| {
        let object = Encoded::new(&json!({"metadata": {"name": name}}));
        Entry { revision: Revision(revision), json: object.at(Revision(revision)), index: Index::default() }
    };
    let state = Database::create(directory.join("state.redb")).unwrap();
    let write = state.begin_write().unwrap();
    {
        let mut objects = write.open_table(TableDefinition::<&[u8], &[u8]>::new("objects")).unwrap();
        for (resource, name, revision) in [(pods(), "a", 1), (pods(), "b", 2), (leases, "l", 3)] {
            let key = record::state_key(resource, &ObjectKey::new("ns", name));
            objects.insert(&*key, &*record::state_value(&entry(name, revision))).unwrap();
        }
        let mut meta = write.open_table(META).unwrap();
        meta.insert("format", 1).unwrap();
        meta.insert("through", 3).unwrap();
    }
    write.commit().unwrap();
    let log = Database::create(directory.join("log.redb")).unwrap();
    let write = log.begin_write().unwrap();
    {
        let mut groups = write.open_table(TableDefinition::<u64, &[u8]>::new("groups")).unwrap();
        let mut group = Vec::new();
        record::write(&mut group, pods(), &ObjectKey::new("ns", "b"), Revision(2), Some(&entry("b", 2)));
        groups.insert(2, &*group).unwrap();
        let mut group = Vec::new();
        record::write(&mut group, pods(), &ObjectKey::new("ns", "c"), Revision(4), Some(&entry("c", 4)));
        record::write(&mut group, pods(), &ObjectKey::new("ns", "a"), Revision(5), None);
        groups.insert(5, &*group).unwrap();
        let mut meta = write.open_table(META).unwrap();
        meta.insert("format", 1).unwrap();
        meta.insert("reserved", 16_384).unwrap();
    }
    write.commit().unwrap();
}

#[tokio::test]
async fn what_the_release_before_wrote_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    write_format_1(directory.path());
    let mut id = None;
    for round in 0..3 {
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        let found: Vec<_> = store
            .snapshot(pods())
            .objects
            .iter()
            .map(|(key, entry)| format!("{}@{}", key.name, entry.revision))
            .collect();
        assert_eq!(found.get(..2), Some(["b@2".to_owned(), "c@4".to_owned()].as_slice()));
        assert_eq!(*id.get_or_insert(store.me().id), store.me().id);
        assert!(store.revision() >= Revision(16_384), "{}", store.revision());
        assert!(create(&store, &format!("x{round}")).await.revision > Revision(16_384));
    }
}

#[tokio::test]
async fn a_takeover_that_was_interrupted_is_done_again() {
    let directory = tempfile::tempdir().unwrap();
    write_format_1(directory.path());
    let old = std::fs::read(directory.path().join("state.redb")).unwrap();
    drop(Store::open(directory.path(), Limits::default()).unwrap());
    // The log was marked, and the state not written yet.
    let log = Database::create(directory.path().join("log.redb")).unwrap();
    let write = log.begin_write().unwrap();
    write.open_table(TableDefinition::<u64, &[u8]>::new("entries")).unwrap().retain(|_, _| false).unwrap();
    write.commit().unwrap();
    drop(log);
    std::fs::write(directory.path().join("state.redb"), old).unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    assert!(store.snapshot(pods()).objects.contains_key(&ObjectKey::new("ns", "b")));
    create(&store, "x").await;
}

#[tokio::test]
async fn a_missing_file_is_named() {
    for (name, other) in [("log.redb", "state.redb"), ("state.redb", "log.redb")] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        create(&store, "a").await;
        drop(store);
        std::fs::remove_file(directory.path().join(name)).unwrap();
        let error = Store::open(directory.path(), Limits::default()).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains("missing") && !error.contains(other), "{error}");
    }
}

/// Opens a copy of the disk on which some bytes of a file were overwritten.
fn open_damaged(disk: &Disk, name: &'static str, rng: &Rng) -> Result<Store, OpenError> {
    let damaged = disk.copy();
    damaged.overwrite(name, rng);
    damaged.open()
}

#[tokio::test]
async fn damage_is_found_at_the_start_or_does_no_harm() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    // So much that most of the state's file is in use.
    let padding = "x".repeat(4_000);
    for i in 0..60 {
        store.propose(put(&format!("p{i}"), Expect::Absent, &padding)).await.unwrap();
    }
    let expected = dump(&store);
    drop(store);
    let rng = Rng::seeded(1);
    let mut found = 0;
    for name in ["log", "state"] {
        for _ in 0..60 {
            match open_damaged(&disk, name, &rng) {
                Ok(store) => assert_eq!(dump(&store), expected, "damage of the {name} went unseen"),
                Err(error) => {
                    assert!(error.to_string().to_lowercase().contains(name), "{error}");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 10, "{found} of 120 damages were found");
}

#[tokio::test]
async fn a_full_disk_stops_writes_and_loses_nothing() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    disk.set_free(200_000);
    let padding = "x".repeat(10_000);
    let mut kept = Vec::new();
    let refused = loop {
        let name = format!("p{}", kept.len());
        match store.propose(put(&name, Expect::Absent, &padding)).await {
            Ok(_) => kept.push(name),
            Err(error) => break error,
        }
        assert!(kept.len() < 100, "the disk never filled up");
    };
    assert!(matches!(&refused, ProposeError::Disk(reason) if reason.contains("no space left")), "{refused}");
    let present = |store: &Store| store.snapshot(pods()).objects.len();
    assert_eq!(present(&store), kept.len());
    let failed = disk.after_power_failure(&Rng::seeded(1));
    failed.set_free(usize::MAX);
    assert_eq!(present(&failed.open().unwrap()), kept.len());
    disk.set_free(usize::MAX);
    create(&store, "more").await;
    assert_eq!(present(&store), kept.len() + 1);
}

/// Though each group is larger than what is kept in memory for members that lag behind.
#[tokio::test]
async fn a_store_that_ends_well_leaves_little_of_its_log() {
    let disk = Arc::new(Disk::default());
    let store = disk.open().unwrap();
    let padding = "x".repeat(1 << 20);
    for i in 0..6 {
        store.propose(put(&format!("p{i}"), Expect::Absent, &padding)).await.unwrap();
    }
    store.close().await;
    drop(store);
    let entries = Log::open(disk.clone()).unwrap().entries(0..u64::MAX, usize::MAX).unwrap().len();
    assert!(entries <= 2, "{entries}");
    assert_eq!(disk.open().unwrap().snapshot(pods()).objects.len(), 6);
}

fn saved(store: &Store) -> Vec<u8> {
    store.save().collect::<Vec<_>>().concat()
}

fn assembled(bytes: &[u8], piece: usize) -> Result<Assembly, RestoreError> {
    let mut assembly = Assembly::default();
    for piece in bytes.chunks(piece) {
        assembly.add(piece)?;
    }
    Ok(assembly)
}

#[tokio::test]
async fn what_was_saved_is_restored_while_running() {
    let store = Store::in_memory(Limits::default());
    let a = create(&store, "a").await;
    create(&store, "b").await;
    let bytes = saved(&store);
    store.propose(delete("b", Revision(2))).await.unwrap();
    store.propose(put("a", Expect::Revision(a.revision), "changed")).await.unwrap();
    create(&store, "c").await;
    let mut watch = store.watch(pods(), store.revision()).unwrap();
    for (piece, expected) in [(7, 3), (1 << 20, 0)] {
        assert_eq!(store.restore(assembled(&bytes, piece).unwrap()).await.unwrap(), expected);
        let names: Vec<_> = store.snapshot(pods()).objects.keys().map(|key| key.name.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
    }
    let mut changes = told(&watch.next(10).await.unwrap());
    changes.iter_mut().for_each(|change| _ = change.drain(..change.find(' ').unwrap() + 1));
    changes.sort();
    assert_eq!(changes, ["Created ns/b", "Deleted ns/c", "Updated ns/a"]);
    let restored = store.snapshot(pods()).objects.get(&ObjectKey::new("ns", "a")).unwrap().clone();
    assert_eq!(restored.encoded(), a.entry.encoded());
    assert!(restored.revision > Revision(5));
}

#[tokio::test]
async fn a_damaged_archive_is_refused() {
    let store = Store::in_memory(Limits::default());
    create(&store, "a").await;
    let bytes = saved(&store);
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(assembled(&damaged, 1 << 20).and_then(Assembly::finish).is_err(), "byte {place}");
        assert!(assembled(&bytes[..place], 1 << 20).and_then(Assembly::finish).is_err(), "cut at {place}");
    }
    assert!(assembled(&[bytes.as_slice(), b"x"].concat(), 1 << 20).is_err());
    assert!(matches!(assembled(b"apiVersion: v1\n", 4), Err(RestoreError::Unknown)));
}

#[tokio::test]
async fn a_group_that_was_planned_on_another_state_is_refused() {
    use crate::raft::{Group, Outcome};
    let store = Store::in_memory(Limits::default());
    create(&store, "a").await;
    let before = dump(&store);
    let raft = store.inner.node.raft().unwrap();
    let stale = Group { after: 0, revision: 9, reserved: 99_999, records: bytes::Bytes::new() };
    assert_eq!(raft.client_write(stale).await.unwrap().data, Outcome::Refused);
    assert_eq!(dump(&store), before);
    create(&store, "b").await;
}
