//! Messages in: what another member's [`super::network`] sends, given to raft, and the answers.

use std::sync::PoisonError;

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use openraft::storage::Snapshot;

use super::messages::{Barrier, Envelope, Message, PROTOCOL, Piece, Reply};
use super::{Raft, decode, encode};
use crate::archive::Assembly;
use crate::disk::Fault;
use crate::node::Node;

/// A snapshot that is being received. There is one at a time: a new one replaces it.
pub(crate) struct Incoming {
    transfer: u64,
    next: u64,
    assembly: Assembly,
}

/// Answers a message; with nothing where it is none, or meant for another member.
pub(crate) async fn receive(node: &Node, message: &[u8]) -> Bytes {
    let is_ours = |envelope: &Envelope| envelope.protocol == PROTOCOL && envelope.to == node.me.id;
    let Some(message) = decode::<Envelope>(message).ok().filter(is_ours) else { return Bytes::new() };
    let reply = match node.raft() {
        Some(raft) => reply(node, &raft, message.message).await,
        None => Err("it is not running".into()),
    };
    let reply = reply.unwrap_or_else(|error| Reply::Failed(error.to_string()));
    encode(&reply).map(Bytes::from).unwrap_or_default()
}

async fn reply(node: &Node, raft: &Raft, message: Message) -> Result<Reply, Fault> {
    Ok(match message {
        Message::Append(request) => Reply::Append(raft.append_entries(request).await?),
        Message::Vote(request) => Reply::Vote(raft.vote(request).await?),
        Message::PreVote(request) => Reply::Vote(raft.pre_vote(request).await?),
        Message::Transfer(request) => Reply::Transfer(raft.handle_transfer_leader(request).await?),
        Message::Snapshot(piece) => snapshot(node, raft, piece).await?,
        Message::Barrier => Reply::Barrier(barrier(node, raft).await?),
    })
}

/// Where reads of this member, which leads, are up to date. Not before it is in office: until then it is below numbers that
/// the leader before it may have shown.
pub(crate) async fn barrier(node: &Node, raft: &Raft) -> Result<Barrier, Fault> {
    let elected = raft.server_metrics().borrow_watched().vote.leader_id;
    if node.machine.office() != Some(elected) {
        return Err("the leader is not in office yet".into());
    }
    // In this order: what is shown at this revision was committed before that entry.
    let revision = node.machine.memory().revision().0;
    let leased = raft.get_read_linearizer(ReadPolicy::LeaseRead).await;
    let linearizer = match leased {
        Ok(linearizer) => linearizer,
        Err(_) => raft.get_read_linearizer(ReadPolicy::ReadIndex).await?,
    };
    Ok(Barrier { log_id: *linearizer.read_log_id().log_id(), revision })
}

async fn snapshot(node: &Node, raft: &Raft, piece: Piece) -> Result<Reply, Fault> {
    let Piece { vote, meta, .. } = &piece;
    let (vote, meta) = (*vote, meta.clone());
    let Some(complete) = gather(node, &piece)? else { return Ok(Reply::More) };
    let snapshot = Snapshot { meta, snapshot: complete.finish()? };
    Ok(Reply::Installed(raft.install_full_snapshot(vote, snapshot).await?))
}

/// Adds a piece to its transfer; gives back what is complete.
fn gather(node: &Node, piece: &Piece) -> Result<Option<Assembly>, Fault> {
    let mut place = node.incoming.lock().unwrap_or_else(PoisonError::into_inner);
    if piece.number == 0 {
        *place = Some(Incoming { transfer: piece.transfer, next: 0, assembly: Assembly::default() });
    }
    let mut incoming = place
        .take()
        .filter(|incoming| incoming.transfer == piece.transfer && incoming.next == piece.number)
        .ok_or("a piece of a snapshot that is not the next one")?;
    incoming.next += 1;
    if incoming.assembly.add(&piece.bytes)? {
        return Ok(Some(incoming.assembly));
    }
    *place = Some(incoming);
    Ok(None)
}
