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
    /// Waits until it shows the last of these writes, and sees that it has shown them all.
    pub fn has_shown<'a>(self, runtime: &Runtime, acked: impl Iterator<Item = &'a Ack>) {
        let acked: Vec<&String> = acked.map(|ack| &ack.name).collect();
        let last = (*acked.last().unwrap()).clone();
        let seen = runtime.block_on(async { tokio::time::timeout(PATIENCE, self.until(last)).await });
        let seen = seen.expect("the watch shows the last write");
        let missing: Vec<_> = acked.iter().filter(|name| !seen.contains(**name)).collect();
        assert!(missing.is_empty(), "not seen: {missing:?}");
    }

    /// Everything, once it shows this too.
    async fn until(mut self, name: String) -> BTreeSet<String> {
        let seen = self.1.wait_for(|seen| seen.contains(&name)).await.map(|seen| seen.clone());
        self.0.abort();
        seen.unwrap_or_default()
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
