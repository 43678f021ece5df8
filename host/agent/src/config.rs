//! What the agent is told about its node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Taint;

use crate::images::ImageGc;

/// How many pods a node takes where nothing else is said: wasm pods are small.
pub const PODS_MAX_DEFAULT: u32 = 16_000;

/// A node, as its owner describes it.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The Node's name.
    pub node_name: String,
    /// The Node's `InternalIP`, and the pods' `hostIP`.
    pub node_ip: IpAddr,
    /// Where the kubelet's endpoints are served.
    pub kubelet_port: u16,
    /// Volumes and logs are kept below.
    pub data_dir: PathBuf,
    /// How many pods the node takes.
    pub pods_max: u32,
    /// Further labels of the Node, those of runtimes that it has for certain among them: it is registered before they are there.
    pub labels: BTreeMap<String, String>,
    /// The taints that the Node is created with; they are the cluster's from then on.
    pub taints: Vec<Taint>,
    /// When images go that nobody uses.
    pub image_gc: ImageGc,
    /// What keeps guests in sandboxes and this machine lacks, a sentence each: the Node's condition `SandboxConfinement`.
    pub confinement_lacking: Vec<String>,
}
