//! The network between hosts: messages take a while, overtake each other, get lost, or do not pass at all.
//!
//! No message is faster than a step of the world, so that it does not matter in which order hosts have their turns in one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use wherry_api::{Error, Resource};
use wherry_apiserver::Identity;
use wherry_base::Rng;
use wherry_client::{RawEvent, Request, WatchOptions};

use crate::disk::Disk;
use crate::time::Times;
use crate::world::STEP;

/// How many messages may be on their way to a host; more are lost.
const LETTERS_MAX: usize = 4096;

/// After so long at the most, a host gives up waiting for a lost message's answer.
const SILENCE_MOST: Duration = Duration::from_secs(2);

/// Of a hundred messages, how many are slow where some are.
const SLOW_PERCENT: usize = 10;

/// A machine, or a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    Master(usize),
    Node(usize),
    User,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master(number) => write!(f, "m{number}"),
            Self::Node(number) => write!(f, "n{number}"),
            Self::User => write!(f, "user"),
        }
    }
}

impl Host {
    /// The master of that address.
    pub fn master(address: &str) -> Option<Self> {
        address.strip_prefix('m')?.parse().ok().map(Self::Master)
    }
}

/// What hosts ask of masters.
pub enum Message {
    /// The log's own.
    Member(Bytes),
    /// A request to the API.
    Call(Identity, Request),
    /// A watch.
    Watch(Identity, &'static Resource, Option<String>, WatchOptions),
    /// What a master asks another's API.
    Http(http::Request<Bytes>),
}

/// What masters answer.
pub enum Answer {
    Member(Bytes),
    Call(Result<Bytes, Error>),
    Watch(Result<Tape, Error>),
    Http(http::Response<Bytes>),
}

/// The events of a watch, and when each arrives. It ends where the connection breaks.
pub type Tape = mpsc::Receiver<(Duration, Result<RawEvent, Error>)>;

/// A message on its way.
pub struct Letter {
    pub from: Host,
    /// When it arrives.
    pub due: Duration,
    pub message: Message,
    reply: oneshot::Sender<(Duration, Answer)>,
}

/// The message, or its answer, did not arrive.
#[derive(Debug)]
pub struct Lost {
    /// Nothing was sent: the other host refused the connection.
    pub is_unsent: bool,
}

/// The network. Clones share it.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

struct Inner {
    rng: Rng,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    inboxes: BTreeMap<Host, mpsc::Sender<Letter>>,
    /// From whom to whom nothing passes.
    cut: BTreeSet<(Host, Host)>,
    lost_percent: usize,
    /// How much longer than others a slow message may take.
    slow: Duration,
}

/// A host's end of the network. Clones share it.
#[derive(Clone)]
pub struct Port {
    pub net: Net,
    pub host: Host,
    pub times: Times,
    /// A host whose disk is dead is not heard.
    pub disk: Option<Disk>,
}

impl Net {
    pub fn new(seed: u64) -> Self {
        Self { inner: Arc::new(Inner { rng: Rng::seeded(seed), state: Mutex::default() }) }
    }

    /// Nothing passes from one host to the other any more.
    pub fn cut(&self, from: Host, to: Host) {
        self.lock().cut.insert((from, to));
    }

    /// It does again.
    pub fn mend(&self, from: Host, to: Host) {
        self.lock().cut.remove(&(from, to));
    }

    /// Of a hundred messages, so many are lost from now on.
    pub fn lose(&self, percent: usize) {
        self.lock().lost_percent = percent;
    }

    /// Some messages take up to so much longer from now on.
    pub fn slow(&self, most: Duration) {
        self.lock().slow = most;
    }

    /// From now on, what is sent to a host arrives there.
    pub fn plug(&self, host: Host) -> mpsc::Receiver<Letter> {
        let (inbox, letters) = mpsc::channel(LETTERS_MAX);
        self.lock().inboxes.insert(host, inbox);
        letters
    }

    /// How long a message takes; none where it is lost.
    fn passage(&self, from: Host, to: Host) -> Option<Duration> {
        let state = self.lock();
        let rng = &self.inner.rng;
        let slow = if rng.below(100) < SLOW_PERCENT { state.slow } else { Duration::ZERO };
        let takes = STEP + up_to(rng, STEP) + up_to(rng, slow);
        let is_lost = rng.below(100) < state.lost_percent || state.cut.contains(&(from, to));
        (!is_lost).then_some(takes)
    }

    fn deliver(&self, to: Host, letter: Letter) -> bool {
        self.lock().inboxes.get(&to).is_some_and(|inbox| inbox.try_send(letter).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Port {
    /// Sends a message and waits for its answer, however long that takes. What was sent may arrive although this fails.
    pub async fn ask(&self, to: Host, message: Message) -> Result<Answer, Lost> {
        let (reply, answered) = oneshot::channel();
        let Some(due) = self.arrival(to) else { return self.lost().await };
        if !self.net.deliver(to, Letter { from: self.host, due, message, reply }) {
            self.times.until(due).await;
            return Err(Lost { is_unsent: true });
        }
        let Ok((due, answer)) = answered.await else { return self.lost().await };
        self.times.until(due).await;
        Ok(answer)
    }

    /// Answers a message, if the answer passes.
    pub fn answer(&self, to: Host, reply: Reply, answer: Answer) {
        if let Some(due) = self.arrival(to) {
            let _asker_gave_up = reply.0.send((due, answer));
        }
    }

    /// When something that is sent now arrives; none where it is lost.
    pub fn arrival(&self, to: Host) -> Option<Duration> {
        let is_heard = self.disk.as_ref().is_none_or(|disk| !disk.is_dead());
        let passage = self.net.passage(self.host, to).filter(|_| is_heard)?;
        Some(self.times.now() + passage)
    }

    async fn lost(&self) -> Result<Answer, Lost> {
        tokio::time::sleep(up_to(&self.net.inner.rng, SILENCE_MOST)).await;
        Err(Lost { is_unsent: false })
    }
}

/// Where an answer goes.
pub struct Reply(oneshot::Sender<(Duration, Answer)>);

impl Letter {
    /// Its parts: from whom it is, what it says, and where the answer goes.
    pub fn open(self) -> (Host, Message, Reply) {
        (self.from, self.message, Reply(self.reply))
    }
}

/// A time below `most`, in milliseconds.
pub fn up_to(rng: &Rng, most: Duration) -> Duration {
    let millis = usize::try_from(most.as_millis()).unwrap_or(usize::MAX);
    Duration::from_millis(rng.below(millis) as u64)
}
