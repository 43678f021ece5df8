//! The flags of a master about nodes that fail.

use std::time::Duration;

use clap::Args;
use wherry_api::NodeLease;
use wherry_apiserver::DefaultTolerations;
use wherry_controllers::NodeMonitor;

/// Long enough that a flicker moves no pod; Kubernetes' is 300.
const TOLERATION_SECONDS: u32 = 1;
/// Nodes renew their Leases four times in it.
const GRACE_LEAST: Duration = Duration::from_millis(500);

/// When a master gives up on a node, and what becomes of its pods then. Names and meanings are Kubernetes'.
#[derive(Clone, Debug, Args)]
pub struct FailureFlags {
    /// How long a node may be silent before it counts as unreachable
    #[arg(long, env = "WHERRY_NODE_MONITOR_GRACE_PERIOD", default_value = "2s", value_parser = grace)]
    pub node_monitor_grace_period: NodeLease,
    /// For how many seconds pods that say nothing of it stay on an unreachable node
    #[arg(long, env = "WHERRY_DEFAULT_UNREACHABLE_TOLERATION_SECONDS", default_value_t = TOLERATION_SECONDS)]
    pub default_unreachable_toleration_seconds: u32,
    /// For how many seconds pods that say nothing of it stay on a node that is not ready
    #[arg(long, env = "WHERRY_DEFAULT_NOT_READY_TOLERATION_SECONDS", default_value_t = TOLERATION_SECONDS)]
    pub default_not_ready_toleration_seconds: u32,
    /// From how many nodes of a zone pods are driven away, in nodes a second
    #[arg(long, env = "WHERRY_NODE_EVICTION_RATE", default_value_t = NodeMonitor::default().eviction_rate, value_parser = rate)]
    pub node_eviction_rate: f32,
    /// The same in a large zone of which too many nodes are not ready; in a small one it is 0 then
    #[arg(long, env = "WHERRY_SECONDARY_NODE_EVICTION_RATE", default_value_t = NodeMonitor::default().secondary_eviction_rate, value_parser = rate)]
    pub secondary_node_eviction_rate: f32,
    /// Which part of a zone's nodes is too many
    #[arg(long, env = "WHERRY_UNHEALTHY_ZONE_THRESHOLD", default_value_t = NodeMonitor::default().unhealthy_zone_threshold, value_parser = rate)]
    pub unhealthy_zone_threshold: f32,
    /// How many nodes a zone has more than to be large
    #[arg(long, env = "WHERRY_LARGE_CLUSTER_SIZE_THRESHOLD", default_value_t = NodeMonitor::default().large_cluster_size_threshold)]
    pub large_cluster_size_threshold: usize,
}

impl FailureFlags {
    /// What the API server adds to pods.
    pub const fn tolerations(&self) -> DefaultTolerations {
        DefaultTolerations {
            not_ready_seconds: self.default_not_ready_toleration_seconds,
            unreachable_seconds: self.default_unreachable_toleration_seconds,
        }
    }

    /// What the node controller goes by.
    pub const fn monitor(&self) -> NodeMonitor {
        NodeMonitor {
            lease: self.node_monitor_grace_period,
            eviction_rate: self.node_eviction_rate,
            secondary_eviction_rate: self.secondary_node_eviction_rate,
            unhealthy_zone_threshold: self.unhealthy_zone_threshold,
            large_cluster_size_threshold: self.large_cluster_size_threshold,
        }
    }
}

fn grace(text: &str) -> Result<NodeLease, String> {
    let grace = wherry_cli::duration(text)?;
    if grace < GRACE_LEAST {
        return Err(format!("\"{text}\" is less than nodes can keep up with; choose {GRACE_LEAST:?} at least"));
    }
    Ok(NodeLease::of(grace))
}

fn rate(text: &str) -> Result<f32, String> {
    let rate: f32 = text.parse().map_err(|_| format!("\"{text}\" is no number"))?;
    if rate.is_finite() && rate >= 0.0 { Ok(rate) } else { Err(format!("\"{text}\" is no number from 0 on")) }
}
