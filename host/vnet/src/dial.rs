//! Errors of connecting, as the errno that a guest or a proxy sees.

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens there, or a Service has no ready endpoint.
    #[error("connection refused")]
    Refused,
    /// The cluster has no such address.
    #[error("no route to host")]
    Unreachable,
    /// The node that has the address cannot be reached, or there is none.
    #[error("no route to the node of the host")]
    PeerUnreachable,
    /// Outside the cluster, and the pod has no leave: annotate it `wherry.dev/egress: allow`.
    #[error("egress is denied; annotate the pod with wherry.dev/egress: allow")]
    Denied,
    /// The listener's backlog is full.
    #[error("the listener's backlog is full")]
    Overloaded,
    /// The kernel's error, for addresses outside the cluster.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
