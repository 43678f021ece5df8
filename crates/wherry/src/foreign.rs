//! A node of another Kubernetes cluster, one that need know nothing of Wherry (`wherry node --kubeconfig`): what the node needs is
//! in the Kubernetes API, in the kubeconfig, or in flags. What it leaves to that cluster says `docs/kubernetes.md`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use wherry_api::k8s_openapi::api::core::v1::Taint;
use wherry_api::taint::NO_SCHEDULE;
use wherry_apiserver::RegistryConfig;
use wherry_client::{Client, Kubeconfig};

use crate::config::{CommonArgs, JoinFlags};
use crate::data_dir::DataDir;
use crate::node::{Surroundings, registries};
use crate::node_credentials::{NodeCredentials, Own};

/// Keeps pods away that do not ask for a runtime of ours: Linux containers cannot run here.
const TAINT: (&str, &str) = ("wherry.dev/runtime", "wasm");

/// That cluster, as far as a node is concerned, and the node's credentials there.
pub fn enter(
    kubeconfig: &Path,
    flags: &JoinFlags,
    args: &CommonArgs,
    own: Own,
    data: &DataDir,
    now: Timestamp,
) -> anyhow::Result<(Surroundings, Arc<NodeCredentials>)> {
    let kubeconfig = Kubeconfig::load(kubeconfig)?;
    let credentials = NodeCredentials::of_kubeconfig(own, &kubeconfig, data, now)?;
    let client = Client::from_kubeconfig(&kubeconfig).context("the kubeconfig cannot be used")?;
    let taint = Taint {
        key: TAINT.0.to_owned(),
        value: Some(TAINT.1.to_owned()),
        effect: NO_SCHEDULE.to_owned(),
        ..Taint::default()
    };
    let surroundings = Surroundings {
        client,
        images: Arc::new(registries(data)),
        linux_images: None,
        cluster_cidr: args.cluster_cidr,
        service_cidr: args.service_cidr.unwrap_or(RegistryConfig::SERVICE_CIDR),
        pod_cidr: flags.pod_cidr,
        taints: vec![taint],
        takes_offers: false,
    };
    Ok((surroundings, credentials))
}
