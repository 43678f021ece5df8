//! A local, always fresh picture of a collection, reduced to what its reader decides on.
//!
//! One task an informer lists, page by page, then watches. A watch that breaks off goes on where it was, with back-off, on whichever
//! server of the cluster answers; all of them have the same revisions. A watch that is refused, for its revision has expired
//! or is not known, starts over. Readers take a consistent snapshot without a lock, or wait for the keys that changed. Events that
//! arrive together are shown together: a burst of thousands swaps the picture a few times.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::stream::{BoxStream, Fuse};
use imbl::OrdMap;
use tokio::sync::{broadcast, watch};
use wherry_api::{Error, Kind, ObjectKey, Reason};
use wherry_base::{Backoff, Drain};

use crate::api::{Api, Event};
use crate::transport::{ListOptions, WatchOptions};

/// How many changed keys a slow reader may be behind before it must look at all keys again. A place is taken up from the
/// start, whether a key waits in it or not: a few bursts' worth.
const CHANGES_WAITING_MAX: usize = 4096;
/// How many events are shown at once at the most.
const EVENTS_TOGETHER_MAX: usize = 512;
/// How many objects are asked for at once while listing: as Kubernetes' clients do.
const PAGE_OBJECTS: usize = 500;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(10);

/// A small struct with just what a reader decides on, made from an object.
pub trait Projection<K>: Clone + Send + Sync + 'static {
    /// Reduces an object.
    fn project(object: K) -> Self;

    /// What it is looked up by besides its key, such as its owner's uid.
    fn groups(&self) -> impl Iterator<Item = Group> {
        std::iter::empty()
    }
}

/// What several objects of a collection have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// In which respect: a name that the projection gives.
    pub by: &'static str,
    /// What they share.
    pub value: Arc<str>,
}

/// Objects by their groups: by each of them, once.
pub type Groups<P> = OrdMap<(Group, ObjectKey), P>;

/// A collection at one moment.
#[derive(Clone, Debug)]
pub struct Picture<P> {
    /// The objects.
    pub objects: Arc<OrdMap<ObjectKey, P>>,
    /// Those that have groups.
    pub groups: Groups<P>,
}

impl<P: Clone> Picture<P> {
    /// A collection, reduced.
    pub fn of<K: Kind>(items: Vec<K>) -> Self
    where
        P: Projection<K>,
    {
        let mut picture = Self::default();
        picture.add(items);
        picture
    }

    fn add<K: Kind>(&mut self, items: Vec<K>)
    where
        P: Projection<K>,
    {
        let objects = Arc::make_mut(&mut self.objects);
        for item in items {
            let (key, object) = (item.key(), P::project(item));
            self.groups.extend(grouped(&key, &object));
            objects.insert(key, object);
        }
    }
}

impl<P> Default for Picture<P> {
    fn default() -> Self {
        Self { objects: Arc::default(), groups: OrdMap::new() }
    }
}

impl<K: Kind> Projection<K> for Arc<K> {
    fn project(object: K) -> Self {
        Self::new(object)
    }
}

/// A picture of a collection, cheap to clone.
#[derive(Clone)]
pub struct Informer<P> {
    shared: Arc<Shared<P>>,
}

struct Shared<P> {
    picture: ArcSwap<Picture<P>>,
    changes: broadcast::Sender<ObjectKey>,
    synced: watch::Sender<bool>,
}

impl<P: Clone + Send + Sync + 'static> Informer<P> {
    /// Starts the task that keeps the picture fresh.
    pub fn spawn<K: Kind>(api: Api<K>, labels: &str, fields: &str, drain: &Drain) -> Self
    where
        P: Projection<K>,
    {
        let (changes, _) = broadcast::channel(CHANGES_WAITING_MAX);
        let (synced, _) = watch::channel(false);
        let shared = Arc::new(Shared { picture: ArcSwap::default(), changes, synced });
        let reflector =
            Reflector { api, labels: labels.to_owned(), fields: fields.to_owned(), shared: Arc::clone(&shared) };
        drain.vital().spawn(reflector.run());
        Self { shared }
    }

    /// The whole picture at one moment.
    pub fn snapshot(&self) -> Arc<OrdMap<ObjectKey, P>> {
        Arc::clone(&self.shared.picture.load().objects)
    }

    /// The whole picture at one moment, with its groups.
    pub fn picture(&self) -> Arc<Picture<P>> {
        self.shared.picture.load_full()
    }

    /// One object of the present picture.
    pub fn get(&self, key: &ObjectKey) -> Option<P> {
        self.shared.picture.load().objects.get(key).cloned()
    }

    /// Resolves when the first list has arrived.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        let _ended = synced.wait_for(|done| *done).await;
    }

    /// The keys that change from now on; a receiver that lags must look at all keys again.
    pub fn changes(&self) -> broadcast::Receiver<ObjectKey> {
        self.shared.changes.subscribe()
    }
}

/// The task's own things.
struct Reflector<K, P> {
    api: Api<K>,
    labels: String,
    fields: String,
    shared: Arc<Shared<P>>,
}

impl<K: Kind, P: Projection<K>> Reflector<K, P> {
    async fn run(self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            if let Err(error) = self.follow(&mut backoff).await {
                tracing::debug!(resource = ?K::resource(), %error, "a watch broke; listing again");
            }
            tokio::time::sleep(backoff.fail()).await;
        }
    }

    /// Lists, then watches until the watch breaks.
    async fn follow(&self, backoff: &mut Backoff) -> Result<(), Error> {
        let mut resource_version = self.list().await?;
        self.shared.synced.send_replace(true);
        backoff.reset();
        loop {
            match self.go_on(&mut resource_version, backoff).await {
                Err(error) if error.reason != Reason::ServiceUnavailable => return Err(error),
                ended => tracing::debug!(resource = ?K::resource(), ?ended, "a watch ended; going on where it was"),
            }
            tokio::time::sleep(backoff.fail()).await;
        }
    }

    /// Shows what there is, and tells its revision. A page is reduced before the next is asked for, so that a large
    /// collection is not in memory as a whole. One that changes too fast for that is listed at once.
    async fn list(&self) -> Result<String, Error> {
        let (labels, fields) = (self.labels.clone(), self.fields.clone());
        let mut options = ListOptions { labels, fields, limit: PAGE_OBJECTS, ..ListOptions::default() };
        let mut picture = Picture::default();
        loop {
            let page = match self.api.list(options.clone()).await {
                Err(error) if error.reason == Reason::Expired && !options.continue_token.is_empty() => {
                    (options.limit, options.continue_token) = (0, String::new());
                    picture = Picture::default();
                    continue;
                }
                page => page?,
            };
            picture.add(page.items);
            options.continue_token = page.continue_token;
            if options.continue_token.is_empty() {
                self.replace(picture);
                return Ok(page.resource_version);
            }
        }
    }

    /// Watches from a revision, and tells the newest that was shown.
    async fn go_on(&self, resource_version: &mut String, backoff: &mut Backoff) -> Result<(), Error> {
        // The end may come together with the last event, and is asked for once more then.
        let mut events = self.open(resource_version.clone()).await?.fuse();
        while let Some(first) = events.next().await {
            let batch = gather(first?, &mut events)?;
            if let Some(newest) = self.show(batch) {
                *resource_version = newest;
            }
            backoff.reset();
        }
        Ok(())
    }

    async fn open(&self, resource_version: String) -> Result<BoxStream<'static, Result<Event<K>, Error>>, Error> {
        let (labels, fields) = (self.labels.clone(), self.fields.clone());
        self.api.watch(WatchOptions { labels, fields, resource_version, bookmarks: true }).await
    }

    /// Shows a new list; keys that are gone, new or perhaps changed are told.
    fn replace(&self, fresh: Picture<P>) {
        let objects = Arc::clone(&fresh.objects);
        let old = Arc::clone(&self.shared.picture.swap(Arc::new(fresh)).objects);
        let gone = old.keys().filter(|key| !objects.contains_key(*key));
        gone.chain(objects.keys()).for_each(|key| self.tell(key.clone()));
    }

    /// Shows a batch of events; the newest revision among them.
    fn show(&self, batch: Vec<Event<K>>) -> Option<String> {
        let mut picture = Picture::clone(&self.shared.picture.load());
        let objects = Arc::make_mut(&mut picture.objects);
        let (mut newest, mut changed) = (None, Vec::with_capacity(batch.len()));
        for event in batch {
            match event {
                Event::Bookmark(revision) => newest = Some(revision),
                Event::Applied(object) => {
                    newest = object.metadata().resource_version.clone();
                    let key = object.key();
                    let fresh = P::project(object);
                    let old = objects.insert(key.clone(), fresh.clone());
                    regroup::<K, P>(&mut picture.groups, &key, old.as_ref(), Some(&fresh));
                    changed.push(key);
                }
                Event::Deleted(object) => {
                    newest = object.metadata().resource_version.clone();
                    let old = objects.remove(&object.key());
                    regroup::<K, P>(&mut picture.groups, &object.key(), old.as_ref(), None);
                    changed.push(object.key());
                }
            }
        }
        self.shared.picture.store(Arc::new(picture));
        changed.into_iter().for_each(|key| self.tell(key));
        newest
    }

    /// Nobody listening is fine.
    fn tell(&self, key: ObjectKey) {
        let _heard = self.shared.changes.send(key);
    }
}

/// Moves an object from its old groups to its new ones.
fn regroup<K, P: Projection<K>>(groups: &mut Groups<P>, key: &ObjectKey, old: Option<&P>, fresh: Option<&P>) {
    let is_in = |group: &Group| fresh.is_some_and(|fresh| fresh.groups().any(|own| own == *group));
    for group in old.into_iter().flat_map(P::groups).filter(|group| !is_in(group)) {
        groups.remove(&(group, key.clone()));
    }
    groups.extend(fresh.into_iter().flat_map(|fresh| grouped(key, fresh)));
}

/// An object, once for each of its groups.
fn grouped<K, P: Projection<K>>(key: &ObjectKey, object: &P) -> impl Iterator<Item = ((Group, ObjectKey), P)> {
    object.groups().map(|group| ((group, key.clone()), object.clone()))
}

/// The events that have arrived already, behind the first.
fn gather<K>(
    first: Event<K>,
    events: &mut Fuse<BoxStream<'static, Result<Event<K>, Error>>>,
) -> Result<Vec<Event<K>>, Error> {
    let mut batch = vec![first];
    while batch.len() < EVENTS_TOGETHER_MAX {
        let ready = futures::FutureExt::now_or_never(events.next());
        match ready {
            Some(Some(event)) => batch.push(event?),
            Some(None) | None => break,
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures::stream;
    use wherry_api::Resource;
    use wherry_api::kinds::ConfigMap;
    use wherry_base::Trigger;

    use super::*;
    use crate::api::Client;
    use crate::transport::{EventKind, RawEvent, RawWatch, Request, Transport, Verb};

    fn names(maps: &Informer<Arc<ConfigMap>>) -> Vec<String> {
        maps.snapshot().keys().map(|key| key.name.to_string()).collect()
    }

    /// An API whose first watch tells an event and its end at once, and whose second goes on.
    #[derive(Default)]
    struct Closing(AtomicUsize);

    #[async_trait]
    impl Transport for Closing {
        async fn send(&self, _: Request) -> Result<Bytes, Error> {
            Ok(Bytes::from_static(br#"{"metadata":{"resourceVersion":"1"},"items":[]}"#))
        }

        async fn watch(
            &self,
            _: &'static Resource,
            _: Option<String>,
            options: WatchOptions,
        ) -> Result<RawWatch, Error> {
            let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            assert_eq!(options.resource_version, number.to_string());
            let object =
                format!(r#"{{"metadata":{{"name":"m{number}","namespace":"d","resourceVersion":"{}"}}}}"#, number + 1);
            let event = RawEvent { kind: EventKind::Added, object: object.into() };
            // Not to be asked again after its end.
            let once = stream::unfold(Some(event), |event| async move { Some((Ok(event?), None)) });
            Ok(if number == 1 { once.boxed() } else { once.chain(stream::pending()).boxed() })
        }
    }

    /// Whose groups are its data.
    impl Projection<ConfigMap> for Vec<String> {
        fn project(map: ConfigMap) -> Self {
            map.data.unwrap_or_default().into_values().collect()
        }

        fn groups(&self) -> impl Iterator<Item = Group> {
            self.iter().map(|value| Group { by: "data", value: value.as_str().into() })
        }
    }

    #[test]
    fn an_object_is_in_the_groups_that_it_has_now() {
        let (a, b) = (ObjectKey::new("d", "a"), ObjectKey::new("d", "b"));
        let two = |first: &str, second: &str| vec![first.to_owned(), second.to_owned()];
        let versions = [two("x", "y"), two("y", "z")];
        let mut groups = grouped(&b, &versions[0]).collect();
        regroup::<ConfigMap, _>(&mut groups, &a, None, Some(&versions[0]));
        regroup::<ConfigMap, _>(&mut groups, &a, Some(&versions[0]), Some(&versions[1]));
        let told: Vec<_> =
            groups.iter().map(|((group, key), now)| format!("{} {} {now:?}", group.value, key.name)).collect();
        let expected = [r#"x b ["x", "y"]"#, r#"y a ["y", "z"]"#, r#"y b ["x", "y"]"#, r#"z a ["y", "z"]"#];
        assert_eq!(told, expected);
        regroup::<ConfigMap, _>(&mut groups, &a, Some(&versions[1]), None);
        assert_eq!(groups.keys().map(|(_, key)| key).collect::<Vec<_>>(), [&b, &b]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_ends_with_its_last_event_is_opened_again() {
        let tasks = Trigger::new();
        let client = Client::new(Arc::new(Closing::default()));
        let maps = Informer::<Arc<ConfigMap>>::spawn::<ConfigMap>(client.all(), "", "", &tasks.drain());
        let mut changes = maps.changes();
        while maps.snapshot().len() < 2 {
            changes.recv().await.unwrap();
        }
        assert_eq!(names(&maps), ["m1", "m2"]);
    }

    /// An API that shows two pages, or whose second has expired.
    struct Paged {
        is_changing: bool,
    }

    #[async_trait]
    impl Transport for Paged {
        async fn send(&self, request: Request) -> Result<Bytes, Error> {
            let Verb::List(options) = request.verb else { unreachable!("{:?}", request.verb) };
            let map = |name: &&str| format!(r#"{{"metadata":{{"name":"{name}","namespace":"d"}}}}"#);
            let list = |token, items: &[&str]| {
                let items: Vec<String> = items.iter().map(map).collect();
                let metadata = format!(r#"{{"resourceVersion":"7","continue":"{token}"}}"#);
                Ok(format!(r#"{{"metadata":{metadata},"items":[{}]}}"#, items.join(",")).into())
            };
            match (options.limit, options.continue_token.as_str()) {
                (0, "") => list("", &["a", "b", "c"]),
                (1.., "") => list("behind a", &["a"]),
                (1.., "behind a") if !self.is_changing => list("", &["b"]),
                (1.., "behind a") => Err(Error::new(Reason::Expired, "too old")),
                asked => unreachable!("{asked:?}"),
            }
        }

        async fn watch(
            &self,
            _: &'static Resource,
            _: Option<String>,
            options: WatchOptions,
        ) -> Result<RawWatch, Error> {
            assert_eq!(options.resource_version, "7");
            Ok(stream::pending().boxed())
        }
    }

    #[tokio::test]
    async fn pages_are_one_list_and_an_expired_one_is_listed_at_once() {
        for (is_changing, expected) in [(false, "a b"), (true, "a b c")] {
            let tasks = Trigger::new();
            let client = Client::new(Arc::new(Paged { is_changing }));
            let maps = Informer::<Arc<ConfigMap>>::spawn::<ConfigMap>(client.all(), "", "", &tasks.drain());
            maps.synced().await;
            assert_eq!(names(&maps).join(" "), expected);
        }
    }
}
