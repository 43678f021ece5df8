//! Opening and closing: recovery from the two files, and the lives of the two threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};
use wherry_api::{ObjectKey, RESOURCES, Revision};

use crate::checkpoint::{Batch, Pending};
use crate::command::ProposeError;
use crate::disk::log::Log;
use crate::disk::record::Record;
use crate::disk::state::State;
use crate::disk::{File, Medium};
use crate::member::{Leadership, Member, Seat};
use crate::memory::{Keep, Memory, Objects};
use crate::object::{Entry, Interner};
use crate::plan::Proposal;
use crate::writer::Writer;
use crate::{Limits, OpenError};

/// An open store: what its handles share. Dropping it waits until all is on disk.
pub(crate) struct Running {
    pub(crate) memory: Arc<Memory>,
    queue: Option<mpsc::Sender<Proposal>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    pub(crate) me: Member,
    pub(crate) leadership: watch::Sender<Leadership>,
}

impl Running {
    /// Queues a command for the writer.
    pub(crate) fn submit(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let queue = self.queue.as_ref().ok_or(ProposeError::Closed)?;
        queue.try_send(proposal).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Closed,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queue = None;
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the store's writer panicked; the log has everything that was acknowledged");
        }
    }
}

/// Everything that is in the two files.
struct Recovered {
    objects: Vec<Objects>,
    /// What the log had beyond the state, for the next checkpoint.
    replayed: Batch,
    revision: u64,
    interner: Interner,
}

/// Opens both files and starts the threads.
pub(crate) fn open(medium: Arc<dyn Medium>, limits: Limits, seat: Option<Seat>) -> Result<Running, OpenError> {
    let log = Log::open(Arc::clone(&medium))?;
    let state = State::open(Arc::clone(&medium))?;
    let recovered = recover(&log, &state)?;
    let revision = Revision(recovered.revision);
    let memory = Arc::new(Memory::new(recovered.objects.clone(), revision));
    let pending = Arc::new(Pending::starting_with(recovered.replayed, limits.checkpoint_objects));
    let (queue, commands) = mpsc::channel(limits.commands_waiting_max.max(1));
    let io = |source: std::io::Error| OpenError::Io { path: medium.path(File::State), source: source.into() };
    let checkpoint = {
        let pending = Arc::clone(&pending);
        spawn("store-checkpoint", move || pending.run(state)).map_err(io)?
    };
    let writer = Writer {
        memory: Arc::clone(&memory),
        objects: recovered.objects,
        revision,
        reserved: recovered.revision,
        log,
        keep: Keep::new(limits),
        interner: recovered.interner,
        pending: Arc::clone(&pending),
        checkpoint,
    };
    let writer = spawn("store-writer", move || writer.run(commands)).map_err(|error| {
        pending.close();
        io(error)
    })?;
    let (name, address) = seat.map(|seat| (seat.name, seat.address)).unwrap_or_default();
    let (me, leadership) = (Member { id: 1, name, address }, watch::Sender::new(Leadership::Leader));
    Ok(Running { memory, queue: Some(queue), writer: Mutex::new(Some(writer)), me, leadership })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// The state, and the log's changes on top of it.
fn recover(log: &Log, state: &State) -> Result<Recovered, OpenError> {
    let mut interner = Interner::default();
    let (objects, through) = state.load(&mut interner)?;
    let reserved = log.reserved()?;
    let replayed = Batch { objects: volatile(&objects), through };
    let mut recovered = Recovered { objects, replayed, revision: through.max(reserved), interner };
    log.replay(through, |record| recovered.apply(record))?;
    Ok(recovered)
}

/// The removal of all volatile objects: they were written when the store was last closed, and will be again; until
/// then the state must not have them, or a crash would bring them back as they were.
fn volatile(objects: &[Objects]) -> BTreeMap<(usize, ObjectKey), Option<Arc<Entry>>> {
    let volatile = RESOURCES.iter().zip(objects).enumerate().filter(|(_, (resource, _))| resource.volatile);
    volatile.flat_map(|(shelf, (_, objects))| objects.keys().map(move |key| ((shelf, key.clone()), None))).collect()
}

impl Recovered {
    fn apply(&mut self, record: Record) {
        self.revision = self.revision.max(record.revision.0);
        self.replayed.through = record.revision.0;
        let Some(shelf) = record.shelf else { return };
        let (Some(objects), Some(resource)) = (self.objects.get_mut(shelf), RESOURCES.get(shelf)) else { return };
        let entry = record.json.map(|json| Entry::stored(resource, record.revision, json, &mut self.interner));
        match &entry {
            Some(entry) => objects.insert(record.key.clone(), Arc::clone(entry)),
            None => objects.remove(&record.key),
        };
        self.replayed.objects.insert((shelf, record.key), entry);
    }
}
