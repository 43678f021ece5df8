//! The leader dies under writes, again and again: `WHERRY_LEADER_KILLS` says how often, once where it says nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wherry_api::kinds::ConfigMap;
use wherry_client::{Client, Event, ListOptions, WatchOptions};

use super::group::{Ack, Group};
use super::names;

const KILLS: &str = "WHERRY_LEADER_KILLS";

#[test]
fn nothing_is_lost_with_the_leader() {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut group = Group::of(3);
    let mut writer = group.writer("w");
    let (mut acked, mut times) = (Vec::<Ack>::new(), Vec::new());
    acked.extend(writer.until_after(Instant::now()));
    for _ in 0..kills {
        let leader = group.leader();
        let follower = (leader + 1) % 3;
        let watching = watch(&group, follower);
        let before = acked.len();
        acked.extend(writer.until_after(Instant::now()));
        group.masters[leader].kill().unwrap();
        let killed = Instant::now();
        acked.extend(writer.until_after(killed));
        let first = acked.iter().skip(before).find(|ack| ack.done >= killed).unwrap();
        times.push(first.done - killed);
        println!("a write {:?} after kill -9 of the leader", first.done - killed);
        group.masters[leader].restart().unwrap();
        // The watch of a follower went on over the election, without a gap.
        let last = acked.last().unwrap().name.clone();
        let seen =
            group.runtime.block_on(async { tokio::time::timeout(wherry_tests::PATIENCE, watching.until(last)).await });
        let seen = seen.expect("the watch shows the last write");
        let missing =
            acked.iter().skip(before).map(|ack| &ack.name).filter(|name| !seen.contains(*name)).collect::<Vec<_>>();
        assert!(missing.is_empty(), "not seen: {missing:?}");
    }
    acked.extend(writer.end(&group.runtime));
    for master in &group.masters {
        let shown = group.runtime.block_on(names(&master.client().unwrap()));
        let lost: Vec<&String> = acked.iter().map(|ack| &ack.name).filter(|name| !shown.contains(*name)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
    println!("{} writes acknowledged, none lost; first write after {kills} kills: {}", acked.len(), spread(&mut times));
}

#[test]
fn the_leader_hands_over_when_it_ends() {
    let mut group = Group::of(3);
    let mut writer = group.writer("w");
    writer.until_after(Instant::now());
    let leader = group.leader();
    let began = Instant::now();
    assert_eq!(group.masters[leader].terminate().unwrap(), Some(0), "{}", group.masters[leader].errors());
    let acks = writer.until_after(Instant::now());
    let gaps = acks.iter().filter(|ack| ack.done >= began).map(|ack| ack.done - ack.began);
    println!("the longest write over a clean end of the leader took {:?}", gaps.max().unwrap());
    let errors = group.masters[leader].errors();
    assert!(!errors.contains("no other master has taken over"), "{errors}");
    group.masters[leader].restart().unwrap();
    writer.end(&group.runtime);
}

/// What a watch has shown.
struct Watching(JoinHandle<()>, tokio::sync::watch::Receiver<BTreeSet<String>>);

impl Watching {
    /// Everything, once it shows this too.
    async fn until(mut self, name: String) -> BTreeSet<String> {
        let seen = self.1.wait_for(|seen| seen.contains(&name)).await.map(|seen| seen.clone());
        self.0.abort();
        seen.unwrap_or_default()
    }
}

/// One watch at a master, from now on.
fn watch(group: &Group, place: usize) -> Watching {
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

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    format!("min {:?}, median {:?}, p90 {:?}, p99 {:?}, max {:?}", at(0), at(50), at(90), at(99), at(100))
}
