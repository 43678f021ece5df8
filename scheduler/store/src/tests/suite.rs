//! openraft's own tests of a storage, on this one.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::disk::Disk;
use crate::Limits;
use crate::checkpoint::{Batch, Pending};
use crate::disk::log::Log;
use crate::disk::state::State;
use crate::memory::{Keep, Objects};
use crate::raft::Types;
use crate::raft::log::LogStore;
use crate::raft::log::tail::Kept;
use crate::raft::machine::Machine;

struct Builder;

impl StoreBuilder<Types, LogStore, Machine, ()> for Builder {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<Types>> {
        let disk = Arc::new(Disk::default());
        let kept = Kept { entries: 3, bytes: 1 << 20 };
        let log = LogStore::open(Log::open(disk.clone()).unwrap(), None, kept).unwrap();
        let pending = Arc::new(Pending::starting_with(Batch::default(), 1));
        let state = Arc::new(State::open(disk).unwrap());
        let checkpoint = Arc::clone(&pending);
        wherry_base::Trigger::new().drain().spawn_graceful(async move { checkpoint.run(0, state).await });
        let objects = wherry_api::RESOURCES.iter().map(|_| Objects::new()).collect();
        let keep = Keep::new(&Limits::default());
        let machine = Machine::new(0, objects, Default::default(), keep, pending);
        Ok(((), log, machine))
    }
}

#[tokio::test]
async fn openrafts_own_suite() {
    Suite::test_all(Builder).await.unwrap();
}
