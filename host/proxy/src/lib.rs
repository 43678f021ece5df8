//! Services and Ingresses on a node: the endpoint table, node ports and the ingress.
//!
//! Owns the choice of an endpoint (near or far), the kernel listeners of node ports and the HTTP server of the ingress. Knows Services,
//! EndpointSlices, Ingresses, IngressClasses and TLS Secrets, through informers; writes nothing to the API.
//!
//! Wiring, in this order, for the network needs the table and the proxy needs the network:
//!
//! ```ignore
//! let table = Table::new();
//! let network = Network::new(config, table.clone());
//! let proxy = Proxy::new(client, table, network, clock, site)?;
//! proxy.run(Listeners { http: Some(http), https: Some(https) }, drain);
//! ```

mod ingress;
mod nodeport;
mod proxy;
mod table;

pub use proxy::{Listeners, Proxy, ProxyError, Site};
pub use table::Table;
