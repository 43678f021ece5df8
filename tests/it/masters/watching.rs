//! One watch at one master, from its beginning on: what it has shown.

use std::collections::BTreeSet;

use futures::StreamExt;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wherry_api::kinds::ConfigMap;
use wherry_client::{Client, Event, ListOptions, WatchOptions};
use wherry_tests::PATIENCE;

use super::group::{Ack, Group};

/// What a watch has shown.
pub struct Watching(JoinHandle<()>, tokio::sync::watch::Receiver<BTreeSet<String>>);

impl Watching {
    /// Waits until it has shown all of these writes.
    pub fn has_shown<'a>(mut self, runtime: &Runtime, acked: impl Iterator<Item = &'a Ack>) {
        let acked: BTreeSet<String> = acked.map(|ack| ack.name.clone()).collect();
        let all = self.1.wait_for(|seen| acked.is_subset(seen));
        let all = runtime.block_on(async { tokio::time::timeout(PATIENCE, all).await.map(drop) });
        self.0.abort();
        let missing: Vec<_> = acked.difference(&self.1.borrow()).cloned().collect();
        assert!(all.is_ok() && missing.is_empty(), "not seen: {missing:?}");
    }
}

/// One watch at a master, from now on.
pub fn watch(group: &Group, place: usize) -> Watching {
    let client = group.masters[place].client().unwrap();
    let (tell, told) = tokio::sync::watch::channel(BTreeSet::new());
    let mut events = group.runtime.block_on(open(&client));
    let task = group.runtime.spawn(async move {
        while let Some(event) = events.next().await {
            match event.unwrap() {
                Event::Applied(map) => tell.send_modify(|seen| {
                    seen.insert(map.metadata.name.unwrap());
                }),
                Event::Deleted(map) => panic!("{:?} was never deleted", map.metadata.name),
                Event::Bookmark(_) => {}
            }
        }
    });
    Watching(task, told)
}

type Events = futures::stream::BoxStream<'static, Result<Event<ConfigMap>, wherry_api::Error>>;

/// From the present on, with all that is there.
async fn open(client: &Client) -> Events {
    let api = client.namespaced::<ConfigMap>("default");
    let list = api.list(ListOptions::default()).await.unwrap();
    let resource_version = list.resource_version.clone();
    let present = list.items.into_iter().map(|map| Ok(Event::Applied(map)));
    let later = api.watch(WatchOptions { resource_version, ..WatchOptions::default() }).await.unwrap();
    futures::stream::iter(present).chain(later).boxed()
}
