//! Tunnels between nodes: the pods of other nodes, reached over HTTP/2 CONNECT (RFC 9113, 8.5) under mutual TLS.
//!
//! Owns the table of peers, which an informer of Nodes keeps, the connections to them, and what comes over the connections
//! that they make. A connection of a pod is a stream of HTTP/2; datagrams share one stream a peer and direction. Knows
//! nothing of Services: an endpoint is chosen before a way is asked for. A node believes of another only what lies in that
//! one's own range, and opens for it only pods of its own.
//!
//! Wiring, in this order, for the network needs the tunnels and their server needs the network:
//!
//! ```ignore
//! let tunnels = Tunnels::new("this-node", client_config, is_behind_nat, drain);
//! let network = Network::among(config, table, tunnels.clone());
//! let server = TunnelServer::new(tunnels.clone(), network, endpoints);
//! tunnels.follow(client);
//! ```

mod ask;
mod datagrams;
mod dial;
mod health;
mod heard;
mod link;
mod node;
mod offer;
mod peer;
mod pump;
mod relay;
mod server;
mod table;
mod tunnels;

pub use node::Reach;
pub use server::TunnelServer;
pub use tunnels::Tunnels;

/// How long a stream may take to be answered, and a connection to be ready for streams.
const ANSWER_MOST: std::time::Duration = std::time::Duration::from_secs(2);
