//! The store from outside: what was acknowledged is there, in order, once, and after any end of the process.

use serde_json::json;
use wherry_api::{ObjectKey, Resource, Revision, resource::find};

use crate::{Applied, Change, Command, Conflict, Encoded, Expect, Limits, ProposeError, Store};

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
