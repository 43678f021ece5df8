//! Up-to-date reads on any member: the leader says where it stands, and this member waits until it stands there too.

use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use wherry_api::Revision;

use crate::member::{Member, Unavailable};
use crate::node::Node;
use crate::raft::messages::Barrier;
use crate::raft::{Raft, inbox};

/// How long a leader is looked for, and waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to rest when there is no leader yet.
const REST: Duration = Duration::from_millis(50);

/// Waits until reads here show everything that was acknowledged before.
pub(crate) async fn linearizable(node: &Node) -> Result<Revision, Unavailable> {
    tokio::time::timeout(PATIENCE, wait(node)).await.map_err(|_| Unavailable)
}

async fn wait(node: &Node) -> Revision {
    loop {
        if let Some(raft) = node.raft()
            && let Some(barrier) = ask(node, &raft).await
            && let applied = raft.wait(None).applied_index_at_least(Some(barrier.log_id.index()), "a read").await
            && applied.is_ok()
        {
            node.machine.memory().advance(Revision(barrier.revision));
            return node.machine.memory().revision();
        }
        tokio::time::sleep(REST).await;
    }
}

async fn ask(node: &Node, raft: &Raft) -> Option<Barrier> {
    let seen = raft.server_metrics().borrow_watched().clone();
    if seen.state == ServerState::Leader {
        return inbox::barrier(node, raft).await.ok();
    }
    let leader = seen.current_leader?;
    let member: &Member = seen.membership_config.get_node(&leader)?;
    node.network.peer(leader, member).barrier().await
}
