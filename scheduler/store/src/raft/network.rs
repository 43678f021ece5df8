//! Messages out: openraft's calls, over a [`Transport`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::sync::watch;
use wherry_base::Rng;

use super::machine::Frozen;
use super::messages::{Barrier, Envelope, Message, PROTOCOL, Piece, Reply};
use super::{LeaderId, Types, Vote, decode, encode};
use crate::archive::Archive;
use crate::member::{Member, Role, Transport};

/// How long an answer is waited for: it may take the other's disk a while.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// How long the answer to the last piece of a snapshot is waited for: the whole state is written meanwhile.
const INSTALL_PATIENCE: Duration = Duration::from_secs(120);

/// Reaches all members.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) transport: Option<Arc<dyn Transport>>,
    /// Where they are now: openraft keeps what it has made to reach one, whatever its address becomes.
    pub(crate) members: watch::Receiver<Vec<(Member, Role)>>,
    pub(crate) rng: Arc<Rng>,
}

/// Reaches one member.
pub(crate) struct Peer {
    network: Network,
    /// As it was when this was made.
    member: Member,
}

impl Network {
    pub(crate) fn peer(&self, id: u64, member: &Member) -> Peer {
        Peer { network: self.clone(), member: Member { id, ..member.clone() } }
    }
}

impl Peer {
    /// Asks that member, if it leads, from where on reads are up to date.
    pub(crate) async fn barrier(&self) -> Option<Barrier> {
        match self.ask(Message::Barrier, ANSWER_PATIENCE).await {
            Ok(Reply::Barrier(barrier)) => Some(barrier),
            _ => None,
        }
    }

    fn present(&self) -> Member {
        let members = self.network.members.borrow();
        let present = members.iter().find(|(member, _)| member.id == self.member.id);
        present.map_or_else(|| self.member.clone(), |(member, _)| member.clone())
    }

    async fn ask(&self, message: Message, patience: Duration) -> Result<Reply, RPCError<Types>> {
        let envelope = encode(&Envelope { protocol: PROTOCOL, to: self.member.id, message });
        let bytes = envelope.map_err(|error| RPCError::Network(NetworkError::from_string(error)))?;
        let unreachable = |reason: String| RPCError::Unreachable(Unreachable::from_string(reason));
        let transport = self.network.transport.as_ref().ok_or_else(|| unreachable("there are no others".into()))?;
        let member = self.present();
        let sent = transport.send(&member, Bytes::from(bytes));
        let answer = tokio::time::timeout(patience, sent).await.map_err(|_| unreachable("no answer in time".into()))?;
        let answer = answer.map_err(|error| unreachable(error.0))?;
        match decode(&answer) {
            Ok(Reply::Failed(reason)) => Err(unreachable(reason)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(unreachable("another member answers at its address, or one of another release".into())),
        }
    }
}

fn odd<T>() -> Result<T, RPCError<Types>> {
    Err(RPCError::Network(NetworkError::from_string("an answer to another question")))
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        self.peer(target, node)
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Frozen;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self.ask(Message::Append(rpc), ANSWER_PATIENCE).await? {
            Reply::Append(answer) => Ok(answer),
            _ => odd(),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, _: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(Message::Vote(rpc), ANSWER_PATIENCE).await? {
            Reply::Vote(answer) => Ok(answer),
            _ => odd(),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(Message::PreVote(rpc), ANSWER_PATIENCE).await? {
            Reply::Vote(answer) => Ok(answer),
            _ => odd(),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<LeaderId, u64, Member, Frozen>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            sent = self.send_snapshot(vote, snapshot) => Ok(sent?),
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.ask(Message::Transfer(request), ANSWER_PATIENCE).await? {
            Reply::Transfer(answer) => Ok(answer),
            _ => odd(),
        }
    }
}

impl Peer {
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot<LeaderId, u64, Member, Frozen>,
    ) -> Result<SnapshotResponse<Types>, RPCError<Types>> {
        let transfer = self.network.rng.next();
        for (number, bytes) in (0..).zip(Archive::of(snapshot.snapshot)) {
            let piece = Piece { vote, meta: snapshot.meta.clone(), transfer, number, bytes };
            match self.ask(Message::Snapshot(piece), INSTALL_PATIENCE).await? {
                Reply::More => {}
                Reply::Installed(answer) => return Ok(answer),
                _ => return odd(),
            }
        }
        odd()
    }
}
