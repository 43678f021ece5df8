//! What the agent is told about its node, and which runtime runs which pod.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;
use wherry_api::kinds::Pod;
use wherry_runtime::Runtime;

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
    /// Further labels of the Node.
    pub labels: BTreeMap<String, String>,
    /// The taints that the Node is created with; they are the cluster's from then on.
    pub taints: Vec<Taint>,
    /// What keeps guests in sandboxes and this machine lacks, a sentence each: the Node's condition `SandboxConfinement`.
    pub confinement_lacking: Vec<String>,
}

/// The runtimes of a node, the default one first.
#[derive(Clone)]
pub struct Runtimes(Vec<Arc<dyn Runtime>>);

impl Runtimes {
    /// The runtimes, the default one first.
    pub fn new(runtimes: Vec<Arc<dyn Runtime>>) -> Self {
        Self(runtimes)
    }

    /// The one that a pod asks for by `runtimeClassName`; the error is a sentence for its status.
    pub fn select(&self, pod: &Pod) -> Result<&Arc<dyn Runtime>, String> {
        let class = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref());
        let found = match class {
            None => self.0.first(),
            Some(class) => self.0.iter().find(|runtime| runtime.name() == class),
        };
        found.ok_or_else(|| {
            let class = class.unwrap_or_default();
            format!("runtime class \"{class}\" is not offered by this node, which has {}", self.names().join(", "))
        })
    }

    /// All pods of the node are known: what is left of others is ended.
    pub fn end_survivors(&self) {
        self.0.iter().for_each(|runtime| runtime.end_survivors());
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|runtime| runtime.name()).collect()
    }
}
