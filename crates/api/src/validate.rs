//! Validation of objects: every fault of an object, each with its path and Kubernetes' sentence.

pub(crate) mod certificates;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod disruption;
pub(crate) mod endpoints;
pub(crate) mod ingress;
pub(crate) mod meta;
pub(crate) mod names;
pub(crate) mod path;
pub(crate) mod pod;
pub(crate) mod service;
#[cfg(test)]
mod tests;
pub(crate) mod workload;
