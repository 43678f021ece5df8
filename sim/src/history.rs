//! What happened in a run, as the checkers read it: what clients asked and were answered, what their watches showed, what
//! the masters agreed on, and what ran where. Plain data: checkers are tried on histories written by hand.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// A run, as far as it was recorded. Moments are counted from the beginning of the world.
#[derive(Clone, Debug, Default, Hash)]
pub struct History {
    /// The clients' calls, in the order in which they ended.
    pub calls: Vec<Call>,
    /// The clients' watches.
    pub streams: Vec<Stream>,
    /// What became of the keys, in the order of revisions, as the most advanced master showed it.
    pub keys: Vec<KeyChange>,
    /// What became of pods, likewise.
    pub pods: Vec<PodChange>,
    /// What became of endpoints, likewise.
    pub slices: Vec<SliceChange>,
    /// When nodes were called unreachable, and reachable again.
    pub nodes: Vec<NodeChange>,
    /// When nodes were heard, by their names: their Leases changed.
    pub heard: BTreeMap<String, Vec<Duration>>,
    /// The uids of pods that were deleted for their nodes' taints, as far as that was told.
    pub evicted: Vec<String>,
    /// What ran on nodes.
    pub runs: Vec<Run>,
    /// What the world did to hosts and network.
    pub faults: Vec<(Duration, String)>,
    /// How it ended.
    pub end: End,
}

/// A revision of the store.
pub type Revision = u64;

/// A client's call that changes or reads keys.
#[derive(Clone, Debug, Hash)]
pub struct Call {
    pub client: usize,
    pub began: Duration,
    pub ended: Duration,
    pub ask: Ask,
    pub answer: Answer,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Writes a key, where it stands at that revision; where there is none, where none is given. No value is written twice.
    Put {
        key: String,
        value: String,
        expect: Option<Revision>,
    },
    /// Removes a key where it stands at that revision.
    Delete {
        key: String,
        expect: Revision,
    },
    Get {
        key: String,
    },
    List,
}

/// What it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The write took effect at that revision.
    Wrote(Revision),
    /// The key was removed.
    Deleted,
    /// The key was not as expected.
    Refused,
    /// The key's revision and value, if there is one.
    Saw(Option<(Revision, String)>),
    /// All keys, as they stood at a revision.
    Listed(Revision, BTreeMap<String, (Revision, String)>),
    /// Not known: it may have taken effect, may do so yet, or not.
    Unknown,
}

/// A key was written or removed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyChange {
    pub at: Duration,
    pub revision: Revision,
    pub key: String,
    /// None where it was removed.
    pub value: Option<String>,
}

/// A watch of all keys, from a revision on.
#[derive(Clone, Debug, Hash)]
pub struct Stream {
    pub client: usize,
    pub from: Revision,
    pub seen: Vec<Seen>,
    /// It was open, and the world sound, from that moment on to the end.
    pub open_since: Option<Duration>,
}

/// What a watch shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    Change {
        revision: Revision,
        key: String,
        value: Option<String>,
    },
    /// All changes up to that revision were shown.
    Bookmark(Revision),
}

/// A pod as it stands from a revision on; none where it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodChange {
    pub at: Duration,
    pub revision: Revision,
    pub uid: String,
    pub pod: Option<Pod>,
}

/// What checkers know of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pod {
    pub name: String,
    pub node: Option<String>,
    pub address: Option<String>,
    pub is_ready: bool,
    pub is_deleting: bool,
    pub is_over: bool,
    /// Of `app`.
    pub app: String,
}

/// A Service's ready endpoints, by their pods' uids, from a revision on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SliceChange {
    pub at: Duration,
    pub revision: Revision,
    pub name: String,
    pub ready: BTreeMap<String, String>,
}

/// A node's pods are, or are not any more, given to others where they do not bear it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeChange {
    pub at: Duration,
    pub revision: Revision,
    pub node: String,
    pub is_unreachable: bool,
}

/// A pod ran on a node, without a break.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub node: String,
    pub uid: String,
    pub from: Duration,
    /// None where it runs yet.
    pub until: Option<Duration>,
}

/// The end of a run, some time after everything was mended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct End {
    pub at: Duration,
    /// Since when nothing was broken.
    pub sound_since: Duration,
    pub workloads: Vec<Workload>,
}

/// A Deployment at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Its name, its pods' label `app`, and the name of its Service.
    pub app: String,
    pub wanted: usize,
    pub updated: usize,
    pub ready: usize,
    pub is_observed: bool,
}

impl History {
    /// Everything in the order in which it happened, for people.
    pub fn story(&self) -> Vec<(Duration, String)> {
        fn told<T: std::fmt::Debug>(all: &[T], at: impl Fn(&T) -> Duration) -> Vec<(Duration, String)> {
            all.iter().map(|one| (at(one), format!("{one:?}"))).collect()
        }
        let mut story: Vec<_> = [
            told(&self.calls, |call| call.began),
            told(&self.keys, |change| change.at),
            told(&self.pods, |change| change.at),
            told(&self.slices, |change| change.at),
            told(&self.nodes, |change| change.at),
            told(&self.runs, |run| run.from),
            self.faults.clone(),
        ]
        .concat();
        story.sort_by_key(|(at, _)| *at);
        story
    }

    /// A number that is the same for equal histories.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}
