//! The network of a pod that has Linux containers: a kernel's network namespace, joined to the pod network in user space.
//!
//! A TUN device in the namespace has the pod's address and the default route. What containers send there ends here: TCP in
//! a small stack for each connection, UDP in a table of ports, names in a resolver; all of it goes on through the pod's
//! [`Namespace`](wherry_vnet::Namespace), so that Services, other nodes, and what a pod may reach are as they are for
//! modules. Localhost stays in the kernel: a module's port is taken there too, and its connections are kernel sockets.
//!
//! Lacks iptables, bridges, and IPv6. Needs the privileges to enter the namespace and to make a device there. A container
//! is hostile: what it sends is checked, bounded, and dropped with a count.

mod device;
mod dns;
mod doors;
mod drops;
mod flow;
mod flows;
mod nat;
mod netns;
mod packet;
mod podnet;
mod stack;

pub use device::MTU;
pub use drops::Why;
pub use podnet::{Config, PodNet, open};
