//! Containers that have outlived the process of the node that started them.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use wherry_vnet::Namespace;

use crate::{Exit, Limits, LogSink, PodRef};

/// A container that an earlier process of the node has started: it runs, or has ended and nobody has heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// The container's own id.
    pub id: String,
    /// Its pod.
    pub pod: PodRef,
    /// The pod's address.
    pub address: IpAddr,
    /// Its name in the pod.
    pub name: String,
    /// Which run of the container it is: how often it had been started before.
    pub run: u32,
    /// The image, as the pod named it.
    pub reference: String,
    /// The image's digest.
    pub digest: String,
    /// Since when it runs, or ran.
    pub since: Timestamp,
    /// How it ended; `None`: it runs.
    pub exit: Option<Exit>,
    /// Its runtime's name.
    pub runtime: &'static str,
    /// Where it is, in the words of its runtime.
    pub place: String,
}

/// What a survivor is taken over with.
#[derive(Clone)]
pub struct Adoption {
    /// The pod's network, at the address that the pod has.
    pub network: Arc<Namespace>,
    /// Where the output goes on.
    pub logs: Arc<dyn LogSink>,
    /// What the container may use.
    pub limits: Limits,
}
