//! A node in a cluster that knows nothing of Wherry: our API server stands in, without what it tells nodes of its own.

use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use wherry_api::kinds::ConfigMap;
use wherry_base::{Clock, SystemClock};
use wherry_client::DeleteOptions;
use wherry_pki::{Authority, Issued, Subject, Validity};
use wherry_tests::{Asks, Cluster, Kubectl, Machine, until};

use crate::commands::{attempt, verb};
use crate::{WHERRY, pulls};

const USER: &str = "system:node:foreign";

/// What a cluster's administrator gives a kubelet: a certificate as the node, and the authority's.
struct Kubelet {
    authority: String,
    issued: Issued,
}

impl Kubelet {
    fn of(cluster: &Cluster) -> Self {
        let read = |name: &str| fs::read_to_string(cluster.data().join("pki").join(name)).unwrap();
        let now = SystemClock.now();
        let authority = Authority::from_pem("wherry-ca", &read("ca.key"), now).unwrap();
        let subject = Subject { user: USER, group: Some("system:nodes"), names: &[] };
        let issued = authority.issue(&subject, Validity::of(now, Duration::from_secs(3600))).unwrap();
        Self { authority: read("ca.crt"), issued }
    }

    fn kubeconfig(&self, server: &str) -> String {
        let encode = |pem: &str| BASE64_STANDARD.encode(pem);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: '{server}', certificate-authority-data: {}}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             users: [{{name: u, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n",
            encode(&self.authority),
            encode(&self.issued.certificate),
            encode(&self.issued.key)
        )
    }
}

#[test]
fn pods_run_on_a_node_of_another_cluster() {
    let cluster = Cluster::start_as("master", WHERRY, &[]).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let classes = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/kubernetes/runtimeclass.yaml");
    verb(&cluster, &format!("apply -f {classes}"));
    for guest in ["hello-http", "batch"] {
        cluster.load_guest(guest).unwrap();
    }
    // Another Kubernetes says nothing of ranges, registries and graces.
    let maps = cluster.client().unwrap().namespaced::<ConfigMap>("kube-public");
    runtime.block_on(maps.delete("cluster-info", DeleteOptions::default())).unwrap();
    let ports: Value = serde_json::from_str(&fs::read_to_string(cluster.data().join("ports.json")).unwrap()).unwrap();
    let registry = format!("127.0.0.1:{}", ports["registry"]);
    let kubelet = Kubelet::of(&cluster);
    let files = [
        ("kubelet.conf".to_owned(), kubelet.kubeconfig(&cluster.server().unwrap())),
        (format!("certs.d/{registry}/ca.crt"), kubelet.authority.clone()),
        (format!("certs.d/{registry}/client.cert"), kubelet.issued.certificate.clone()),
        (format!("certs.d/{registry}/client.key"), kubelet.issued.key.clone()),
    ];
    let mut node = Machine::with_kubeconfig(&cluster, "foreign", "127.0.0.2", &files).unwrap();
    let node_is = |path: &str| verb(&cluster, &format!("get node foreign -o jsonpath={{{path}}}"));
    assert_eq!(node_is(".spec.taints[0].key"), "wherry.dev/runtime");
    assert_eq!(node_is(".metadata.labels['wherry.dev/runtime.wasm']"), "true");
    let lease = verb(&cluster, "get lease foreign -n kube-node-lease -o jsonpath={.spec.leaseDurationSeconds}");
    assert_eq!(lease, "40");
    let private = pulls::registry(Asks::Token, "batch");
    let pods = include_str!("foreign/pods.yaml").replace("REGISTRY", &registry).replace("PRIVATE", &private.address());
    cluster.apply("default", &pulls::filled(&pods, &private)).unwrap();
    verb(&cluster, "wait --for condition=Ready pod/web --timeout 60s");
    verb(&cluster, "wait --for jsonpath={.status.phase}=Succeeded pod/batch --timeout 60s");
    verb(&cluster, "wait --for jsonpath={.status.phase}=Succeeded pod/private --timeout 60s");
    assert_eq!(verb(&cluster, "get pod web -o jsonpath={.status.hostIP}"), "127.0.0.2");
    // A Linux pod, as it were: it asks for no class, and stays away.
    until("the other pod is told why it waits", || {
        let told = verb(&cluster, "get pod linux -o jsonpath={.status.conditions[0].message}");
        Ok(told.contains("untolerated taint").then_some(()))
    })
    .unwrap();
    // By the certificate that the cluster has signed meanwhile.
    let logs = || match Kubectl::of(&cluster) {
        Some(kubectl) => {
            let printed = kubectl.run(&["logs", "batch"]).unwrap();
            printed.ok.then_some(printed.out.trim_end().to_owned())
        }
        None => Some(verb(&cluster, "logs batch")),
    };
    until("its logs are read", || Ok((logs().as_deref() == Some("from-afar")).then_some(()))).unwrap();
    // It comes back as the same Node, with its pods.
    let uid = node_is(".metadata.uid");
    assert_eq!(node.terminate().unwrap(), Some(0), "{}", node.errors());
    node.restart().unwrap();
    verb(&cluster, "wait --for condition=Ready pod/web --timeout 60s");
    assert_eq!(node_is(".metadata.uid"), uid);
    verb(&cluster, "delete pod web batch linux --timeout 60s");
    assert!(attempt(&cluster, "get pod web").is_err());
}
