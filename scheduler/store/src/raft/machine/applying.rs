//! The machine's operations, in openraft's terms.

use std::io;

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::{OptionalSend, RaftSnapshotBuilder};

use super::{Frozen, Machine};
use crate::member::Member;
use crate::raft::{LeaderId, LogId, Position, SnapshotMeta, StoredMembership, Types};

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Frozen;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let Position { log_id, membership, .. } = self.position();
        Ok((log_id, membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let outcome = Self::apply(self, entry)?;
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, frozen: Frozen) -> io::Result<()> {
        let Frozen { revision, reserved, .. } = frozen;
        let position =
            Position { log_id: meta.last_log_id, membership: meta.last_membership.clone(), revision, reserved };
        self.pending.replace(frozen.objects.clone(), position.clone()).await.map_err(io::Error::other)?;
        self.install(frozen, position);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot<LeaderId, u64, Member, Frozen>>> {
        Ok(Some(self.snapshot()).filter(|snapshot| snapshot.meta.last_log_id.is_some()))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Frozen;

    /// What is frozen may not be on the disk yet: the log is cut by what the checkpoint says, not by this.
    async fn build_snapshot(&mut self) -> io::Result<Snapshot<LeaderId, u64, Member, Frozen>> {
        Ok(self.snapshot())
    }
}
