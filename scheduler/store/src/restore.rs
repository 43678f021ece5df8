//! Leads the present state back to a saved one, by writes like any other.

use futures::stream::{self, StreamExt, TryStreamExt};
use wherry_api::{ObjectKey, RESOURCES, Resource};

use crate::archive::RestoreError;
use crate::command::{Command, Conflict, Expect, ProposeError};
use crate::raft::machine::Frozen;
use crate::{Snapshot, Store};

/// How many writes are on their way at a time: a full group.
const WRITES_AT_ONCE: usize = 1024;

pub(crate) async fn restore(store: &Store, saved: Frozen) -> Result<usize, RestoreError> {
    let mut written = 0;
    for (resource, saved) in RESOURCES.iter().zip(&saved.objects).filter(|(resource, _)| !resource.volatile) {
        let present = store.snapshot(resource);
        let gone = present.objects.keys().filter(|key| !saved.contains_key(*key)).map(|key| removal(&present, key));
        let other = saved.iter().filter_map(|(key, entry)| {
            let encoded = entry.encoded()?;
            let now = present.objects.get(key);
            let is_other = now.is_none_or(|now| now.encoded().as_ref() != Some(&encoded));
            is_other
                .then(|| (key.clone(), Some(encoded), now.map_or(Expect::Absent, |now| Expect::Revision(now.revision))))
        });
        let changes: Vec<_> = gone.chain(other).collect();
        written += changes.len();
        let writes = changes.into_iter().map(|change| write(store, resource, change));
        stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect::<()>().await?;
    }
    Ok(written)
}

/// An object, what it shall be (nothing: removed), and what must hold.
type Change = (ObjectKey, Option<crate::Encoded>, Expect);

fn removal(present: &Snapshot, key: &ObjectKey) -> Change {
    let expect = present.objects.get(key).map_or(Expect::Absent, |now| Expect::Revision(now.revision));
    (key.clone(), None, expect)
}

/// Writes what is to be, whatever others write meanwhile.
async fn write(store: &Store, resource: &'static Resource, change: Change) -> Result<(), ProposeError> {
    let (key, object, mut expect) = change;
    loop {
        let key = key.clone();
        let command = match object.clone() {
            Some(object) => Command::Put { resource, key, expect, object },
            None => Command::Delete { resource, key, expect },
        };
        expect = match store.propose(command).await {
            Ok(_) => return Ok(()),
            Err(ProposeError::Conflict(Conflict::Exists(now))) => Expect::Revision(now.revision),
            Err(ProposeError::Conflict(Conflict::Missing)) if object.is_none() => return Ok(()),
            Err(ProposeError::Conflict(Conflict::Missing)) => Expect::Absent,
            Err(ProposeError::Overloaded) => {
                tokio::task::yield_now().await;
                expect
            }
            Err(error) => return Err(error),
        };
    }
}
