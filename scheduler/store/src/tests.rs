//! The store from outside: what was acknowledged is there, in order, once, and after any end of the process.

mod cluster;
mod crash;
mod disk;
mod files;
mod model;
mod replication;
mod suite;

use redb::{Database, TableDefinition};
use serde_json::json;
use wherry_api::{ObjectKey, Resource, Revision, resource::find};

use crate::{
    Applied, Change, Command, Conflict, Encoded, Expect, Focus, Limits, OpenError, Place, ProposeError, Store,
};

fn pods() -> &'static Resource {
    find("", "v1", "pods").unwrap()
}

fn put(name: &str, expect: Expect, text: &str) -> Command {
    let object = json!({"metadata": {"name": name, "labels": {"app": text}}, "spec": {"nodeName": text}});
    Command::Put { resource: pods(), key: ObjectKey::new("ns", name), expect, object: Encoded::new(&object) }
}

fn delete(name: &str, revision: Revision) -> Command {
    Command::Delete { resource: pods(), key: ObjectKey::new("ns", name), expect: Expect::Revision(revision) }
}

async fn create(store: &Store, name: &str) -> Applied {
    store.propose(put(name, Expect::Absent, "x")).await.unwrap()
}

/// Everything readers see of the pods, as text.
fn dump(store: &Store) -> String {
    let snapshot = store.snapshot(pods());
    let line = |(key, entry): (&ObjectKey, &std::sync::Arc<crate::Entry>)| {
        format!("{key} {} {:?} {}\n", entry.revision, entry.index, String::from_utf8_lossy(&entry.json))
    };
    let lines: String = snapshot.objects.iter().map(line).collect();
    format!("{}\n{lines}", snapshot.revision)
}

fn told(changes: &[std::sync::Arc<Change>]) -> Vec<String> {
    changes.iter().map(|c| format!("{} {:?} {}", c.revision, c.kind, c.key)).collect()
}

#[tokio::test]
async fn creates_updates_deletes_and_tells_conflicts() {
    let store = Store::in_memory(Limits::default());
    let mut watch = store.watch(pods(), store.revision()).unwrap();
    let first = create(&store, "a").await;
    let again = store.propose(put("a", Expect::Absent, "y")).await;
    assert!(matches!(again, Err(ProposeError::Conflict(Conflict::Exists(entry))) if entry.revision == first.revision));
    let missing = store.propose(delete("b", Revision(1))).await;
    assert!(matches!(missing, Err(ProposeError::Conflict(Conflict::Missing))));
    let second = store.propose(put("a", Expect::Revision(first.revision), "y")).await.unwrap();
    let stale = store.propose(delete("a", first.revision)).await;
    assert!(matches!(stale, Err(ProposeError::Conflict(Conflict::Exists(_)))));
    let gone = store.propose(delete("a", second.revision)).await.unwrap();
    let text = String::from_utf8_lossy(&gone.entry.json).into_owned();
    assert!(text.contains(&format!("\"resourceVersion\":\"{}\"", gone.revision)), "{text}");
    assert_eq!(told(&watch.next(10).await.unwrap()), ["1 Created ns/a", "2 Updated ns/a", "3 Deleted ns/a"]);
    assert_eq!((dump(&store).as_str(), watch.position()), ("3\n", Revision(3)));
}

#[tokio::test]
async fn reopened_it_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let before = {
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        let a = create(&store, "a").await;
        let b = create(&store, "b").await;
        store.propose(put("a", Expect::Revision(a.revision), "z")).await.unwrap();
        store.propose(delete("b", b.revision)).await.unwrap();
        dump(&store)
    };
    for _ in 0..2 {
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        assert_eq!(dump(&store), before);
    }
}

#[tokio::test]
async fn a_watch_that_falls_behind_expires() {
    let store = Store::in_memory(Limits { watch_history_changes_max: 5, ..Limits::default() });
    let mut slow = store.watch(pods(), Revision(0)).unwrap();
    for i in 0..10 {
        create(&store, &format!("p{i}")).await;
    }
    let expired = slow.next(10).await.unwrap_err();
    assert_eq!((expired.asked, expired.oldest), (Revision(0), Revision(5)));
    assert!(store.watch(pods(), Revision(4)).is_err());
    let mut fresh = store.watch(pods(), Revision(5)).unwrap();
    assert_eq!(fresh.next(2).await.unwrap().len(), 2);
    assert_eq!(fresh.position(), Revision(7));
    assert_eq!(fresh.next(100).await.unwrap().len(), 3);
    assert_eq!(fresh.position(), Revision(10));
}

#[tokio::test]
async fn a_bookmark_moves_on_while_others_change() {
    let store = Store::in_memory(Limits::default());
    let services = find("", "v1", "services").unwrap();
    let mut watch = store.watch(services, store.revision()).unwrap();
    let last = create(&store, "a").await.revision;
    assert_eq!((watch.position(), store.snapshot(services).revision), (last, last));
}

#[tokio::test]
async fn a_watch_of_few_objects_is_left_in_peace_and_does_not_expire() {
    let store = Store::in_memory(Limits { watch_history_changes_max: 8, ..Limits::default() });
    let focus = Some(Focus { on: Place::Name, value: "mine".into() });
    let mut watch = store.watch_focused(pods(), store.revision(), focus).unwrap();
    #[expect(clippy::disallowed_methods, reason = "it is asked whether it waits still, and waited for")]
    let waiting = tokio::spawn(async move {
        let changes = watch.next(10).await.unwrap();
        (told(&changes), watch.position())
    });
    for i in 0..40 {
        create(&store, &format!("p{i}")).await;
        // It goes on waiting, whether it was woken or not.
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
    }
    let last = create(&store, "mine").await.revision;
    assert_eq!(waiting.await.unwrap(), (vec!["41 Created ns/mine".to_owned()], last));
}

#[tokio::test]
async fn a_bookmark_passes_over_what_does_not_concern_the_watch() {
    let store = Store::in_memory(Limits::default());
    let focus = Some(Focus {
        on: Place::Field(pods().selectable.iter().position(|p| *p == "spec.nodeName").unwrap()),
        value: "n1".into(),
    });
    let mut watch = store.watch_focused(pods(), store.revision(), focus).unwrap();
    create(&store, "other").await;
    assert_eq!(watch.position(), store.revision());
    store.propose(put("own", Expect::Absent, "n1")).await.unwrap();
    create(&store, "another").await;
    assert_eq!(watch.position(), Revision(1), "its own change comes first");
    assert_eq!(told(&watch.next(10).await.unwrap()), ["2 Created ns/own"]);
    assert_eq!(watch.position(), Revision(3));
}

#[tokio::test]
async fn a_waiting_watch_is_woken() {
    let store = Store::in_memory(Limits::default());
    let mut watch = store.watch(pods(), store.revision()).unwrap();
    let (changes, _) = tokio::join!(watch.next(10), create(&store, "a"));
    assert_eq!(told(&changes.unwrap()), ["1 Created ns/a"]);
}

#[test]
fn one_process_and_no_newer_format() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = Store::open(path, Limits::default()).unwrap();
    assert!(matches!(Store::open(path, Limits::default()), Err(OpenError::InUse(_))));
    drop(store);
    let database = Database::open(path.join("state.redb")).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 3).unwrap();
    write.commit().unwrap();
    drop(database);
    let refused = Store::open(path, Limits::default());
    assert!(matches!(refused, Err(OpenError::Newer { found: 3, known: 2, .. })));
    assert!(matches!(Store::open(&path.join("state.redb"), Limits::default()), Err(OpenError::Io { .. })));
}

#[tokio::test]
async fn the_past_is_shown_as_far_as_the_history_reaches() {
    let store = Store::in_memory(Limits { watch_history_changes_max: 6, ..Limits::default() });
    let names = |at: u64| {
        let snapshot = store.snapshot_at(pods(), Revision(at))?;
        let name =
            |(key, entry): (&ObjectKey, &std::sync::Arc<crate::Entry>)| format!("{}@{}", key.name, entry.revision);
        Ok::<_, crate::Expired>((snapshot.revision.0, snapshot.objects.iter().map(name).collect::<Vec<_>>().join(" ")))
    };
    let a = create(&store, "a").await;
    let b = create(&store, "b").await;
    let a = store.propose(put("a", Expect::Revision(a.revision), "y")).await.unwrap();
    store.propose(delete("a", a.revision)).await.unwrap();
    create(&store, "a").await;
    store.propose(put("b", Expect::Revision(b.revision), "y")).await.unwrap();
    for (at, expected) in
        [(0, ""), (1, "a@1"), (2, "a@1 b@2"), (3, "a@3 b@2"), (4, "b@2"), (5, "a@5 b@2"), (6, "a@5 b@6")]
    {
        assert_eq!(names(at), Ok((at, expected.to_owned())));
    }
    assert_eq!(names(9), Ok((6, "a@5 b@6".to_owned())), "the present one is the newest");
    create(&store, "c").await;
    assert_eq!(names(1).map(|(at, _)| at), Ok(1));
    assert!(names(0).is_err());
}

#[tokio::test]
async fn a_bounded_resource_keeps_the_newest() {
    let store = Store::in_memory(Limits::default());
    let events = find("", "v1", "events").unwrap();
    let event = |i: usize| Command::Put {
        resource: events,
        key: ObjectKey::new("ns", &format!("e{}", (i * 7919) % 1_000_003)),
        expect: Expect::Absent,
        object: Encoded::new(&json!({})),
    };
    for batch in (0..=events.objects_max).collect::<Vec<_>>().chunks(1024) {
        let all = batch.iter().map(|i| store.propose(event(*i)));
        futures::future::try_join_all(all).await.unwrap();
    }
    let kept = store.snapshot(events).objects;
    let oldest = kept.values().map(|entry| entry.revision).min().unwrap();
    let made_room = events.objects_max / 16;
    assert_eq!((kept.len(), oldest), (events.objects_max - made_room, Revision(made_room as u64 + 2)));
}
