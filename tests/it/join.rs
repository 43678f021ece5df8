//! Machines that join a master with a token: what they become, who may not, and how certificates live and end.

use std::collections::BTreeSet;
use std::fs;

use futures::StreamExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use wherry_api::kinds::{ConfigMap, Node, Pod, Secret};
use wherry_client::{Client, DeleteOptions, Https, Kubeconfig, ListOptions, WatchOptions};
use wherry_tests::{Cluster, Machine, play, until};

use crate::WHERRY;
use crate::commands::verb;

fn token(cluster: &Cluster, flags: &str) -> String {
    verb(cluster, format!("token create {flags}").trim_end())
}

async fn nodes(cluster: &Cluster) -> Vec<Node> {
    cluster.client().unwrap().all::<Node>().list(ListOptions::default()).await.unwrap().items
}

#[test]
fn machines_join_a_master() {
    let cluster = Cluster::start_as("master", WHERRY, &[]).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let token = token(&cluster, "--description two-machines");
    let listed = verb(&cluster, "token list");
    assert!(listed.contains("two-machines") && !listed.contains(token.split('.').nth(1).unwrap()), "{listed}");
    let zone = ["--zone", "left", "--label", "disk=fast", "--service-cidr", "10.96.0.0/12"];
    let mut second = Machine::join(&cluster, "n2", "127.0.0.2", &token, &zone).unwrap();
    let third = Machine::join(&cluster, "n3", "127.0.0.3", &token, &[]).unwrap();
    let before = runtime.block_on(nodes(&cluster));
    let facts: Vec<String> = before.iter().map(fact).collect();
    assert_eq!(facts, ["n2 127.0.0.2 10.128.0.0/18 left fast", "n3 127.0.0.3 10.128.64.0/18 - -"]);
    for (node, machine) in before.iter().zip([&second, &third]) {
        let endpoints = node.status.as_ref().unwrap().daemon_endpoints.as_ref().unwrap();
        let port = endpoints.kubelet_endpoint.as_ref().unwrap().port;
        assert_eq!(port, i32::from(machine.ports().unwrap().kubelet));
    }
    for guest in ["hello-http", "batch"] {
        cluster.load_guest(guest).unwrap();
    }
    cluster.apply("default", include_str!("join/pods.yaml")).unwrap();
    verb(&cluster, "wait --for condition=Ready pod/on-n2 --timeout 60s");
    verb(&cluster, "wait --for jsonpath={.status.phase}=Succeeded pod/on-n3 --timeout 60s");
    let address = verb(&cluster, "get pod on-n2 -o jsonpath={.status.podIP}");
    assert!(address.starts_with("10.128.0."), "{address}");
    assert_eq!(verb(&cluster, "logs on-n3"), "127.0.0.3", "through the endpoints of that node");
    assert_eq!(verb(&cluster, "logs on-n2"), "");
    // It comes back under its name, without its token, with the same range and pods.
    verb(&cluster, &format!("token delete {token}"));
    assert_eq!(second.terminate().unwrap(), Some(0), "{}", second.errors());
    second.restart().unwrap();
    verb(&cluster, "wait --for condition=Ready pod/on-n2 --timeout 60s");
    assert_eq!(runtime.block_on(nodes(&cluster)).iter().map(fact).collect::<Vec<_>>(), facts);
}

/// Name, address, range, zone and disk.
fn fact(node: &Node) -> String {
    let labels = node.metadata.labels.as_ref().unwrap();
    let label = |key: &str| labels.get(key).map_or("-", String::as_str);
    assert_eq!(
        (label("kubernetes.io/os"), label("kubernetes.io/hostname")),
        ("linux", node.metadata.name.as_deref().unwrap())
    );
    let addresses = node.status.as_ref().unwrap().addresses.as_ref().unwrap();
    let address = &addresses.iter().find(|address| address.type_ == "InternalIP").unwrap().address;
    let range = node.spec.as_ref().unwrap().pod_cidr.as_deref().unwrap();
    let (name, zone, disk) = (label("kubernetes.io/hostname"), label("topology.kubernetes.io/zone"), label("disk"));
    format!("{name} {address} {range} {zone} {disk}")
}

#[test]
fn who_may_not_join_is_told_why() {
    let cluster = Cluster::start_as("master", WHERRY, &[]).unwrap();
    let good = token(&cluster, "");
    let _second = Machine::join(&cluster, "n2", "127.0.0.2", &good, &[]).unwrap();
    let refused = |name: &str, token: &str, more: &[&str], expected: &str| {
        let error = Machine::refused(&cluster, name, "127.0.0.3", token, more).unwrap();
        assert!(error.contains(expected) && !error.contains("panicked"), "wanted {expected:?} in {error}");
    };
    let (secret, hash) = good.rsplit_once('.').unwrap();
    let other_hash: String = hash.chars().rev().collect();
    play(&[
        ("another authority", &|| refused("n3", &format!("{secret}.{other_hash}"), &[], "another hash")),
        ("another secret", &|| {
            let wrong = format!("{}.{}.{hash}", secret.split('.').next().unwrap(), "0".repeat(16));
            refused("n3", &wrong, &[], "does not know the token");
        }),
        ("no token's form", &|| refused("n3", "abc", &[], "wherry token create")),
        ("expired", &|| {
            let short = token(&cluster, "--ttl 1ms");
            refused("n3", &short, &[], "does not know the token");
            let id = short.split('.').next().unwrap();
            let is_gone = || Ok((!verb(&cluster, "token list").contains(id)).then_some(()));
            until("nothing is left of the token", is_gone).unwrap();
        }),
        ("deleted", &|| {
            let gone = token(&cluster, "");
            verb(&cluster, &format!("token delete {}", gone.split('.').next().unwrap()));
            refused("n3", &gone, &[], "does not know the token");
        }),
        ("other ranges", &|| {
            refused(
                "n3",
                &good,
                &["--service-cidr", "10.0.0.0/16"],
                "--service-cidr 10.0.0.0/16 is not this cluster's",
            );
        }),
        ("a name that lives", &|| refused("n2", &good, &[], "a node named \"n2\" is alive")),
    ]);
}

#[test]
fn a_revoked_certificate_is_worth_nothing() {
    let cluster = Cluster::start_as("master", WHERRY, &[]).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let second = Machine::join(&cluster, "n2", "127.0.0.2", &token(&cluster, ""), &[]).unwrap();
    let third = Machine::join(&cluster, "n3", "127.0.0.3", &token(&cluster, ""), &[]).unwrap();
    let as_node = client_of(&cluster, &second);
    // What n2 is answered by the image registry, and by n3 as one of its peers.
    let ask = |server: String, path: &str| {
        let https = Https::new(&Kubeconfig { servers: vec![server], ..kubeconfig_of(&cluster, &second) }).unwrap();
        let answer = runtime.block_on(https.call(http::Method::GET, path, "*/*", None, bytes::Bytes::new()));
        answer.ok().map(|(status, ..)| status.as_u16())
    };
    let registry = || ask(registry_of(&cluster), "/v2/");
    let peer = || ask(format!("https://127.0.0.3:{}", third.ports().unwrap().kubelet), "/");
    until("the peers know each other", || Ok(peer().map(drop))).unwrap();
    assert_eq!(registry(), Some(200));
    let read = || runtime.block_on(as_node.all::<Node>().list(ListOptions::default()));
    assert!(read().is_ok());
    let watch = || {
        let mut watch = runtime.block_on(as_node.all::<Node>().watch(WatchOptions::default())).unwrap();
        assert!(runtime.block_on(watch.next()).unwrap().is_ok());
        watch
    };
    let mut watching = watch();
    let revoke = |what: &str| {
        let metadata = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: revoked-certificates}";
        cluster.apply("kube-system", &format!("{metadata}\ndata: {{n2: '{what}'}}")).unwrap();
    };
    revoke("system:node:n2");
    assert_eq!(read().unwrap_err().to_string(), "the certificate is revoked");
    assert_eq!(registry(), Some(401));
    // What went on ends, too.
    runtime.block_on(async { while let Some(Ok(_)) = watching.next().await {} });
    until("n3 ends what n2 asks", || Ok(peer().is_none().then_some(()))).unwrap();
    let maps = cluster.client().unwrap().namespaced::<ConfigMap>("kube-system");
    runtime.block_on(maps.delete("revoked-certificates", DeleteOptions::default())).unwrap();
    assert!(read().is_ok());
    assert_eq!(registry(), Some(200));
    until("n3 answers n2 again", || Ok(peer().map(drop))).unwrap();
    // The same by a serial number.
    let mut watching = watch();
    let certificate = kubeconfig_of(&cluster, &second).certificate;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let serial = wherry_pki::Holder::of(&certificate).unwrap().serial;
    revoke(&serial);
    assert_eq!(read().unwrap_err().to_string(), "the certificate is revoked");
    runtime.block_on(async { while let Some(Ok(_)) = watching.next().await {} });
    until("n3 ends what n2 asks", || Ok(peer().is_none().then_some(()))).unwrap();
}

fn registry_of(cluster: &Cluster) -> String {
    let ports: Value = serde_json::from_str(&fs::read_to_string(cluster.data().join("ports.json")).unwrap()).unwrap();
    format!("https://127.0.0.1:{}", ports["registry"])
}

/// The API with the client certificate of a machine's node.
fn client_of(cluster: &Cluster, machine: &Machine) -> Client {
    Client::from_kubeconfig(&kubeconfig_of(cluster, machine)).unwrap()
}

fn kubeconfig_of(cluster: &Cluster, machine: &Machine) -> Kubeconfig {
    let read = |name: &str| fs::read_to_string(machine.data().join("pki").join(name)).unwrap();
    let (certificate, key) = (read("node.crt"), read("node.key"));
    Kubeconfig { certificate, key, ..Kubeconfig::load(&cluster.kubeconfig()).unwrap() }
}

#[test]
fn a_node_reads_its_own_and_pushes_no_images() {
    let cluster = Cluster::start_as("master", WHERRY, &[]).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let token = token(&cluster, "");
    let second = Machine::join(&cluster, "n2", "127.0.0.2", &token, &["--zone", "left"]).unwrap();
    let _third = Machine::join(&cluster, "n3", "127.0.0.3", &token, &[]).unwrap();
    for guest in ["hello-http", "batch"] {
        cluster.load_guest(guest).unwrap();
    }
    cluster.apply("default", include_str!("join/pods.yaml")).unwrap();
    cluster.apply("default", include_str!("join/secrets.yaml")).unwrap();
    verb(&cluster, "wait --for condition=Ready pod/with-secret --timeout 60s");
    verb(&cluster, "wait --for jsonpath={.status.phase}=Succeeded pod/on-n3 --timeout 60s");
    let as_node = client_of(&cluster, &second);
    let secrets = as_node.namespaced::<Secret>("default");
    let why = |name: &str| runtime.block_on(secrets.get(name)).err().map(|error| error.to_string());
    assert_eq!(why("own"), None);
    let refused = "no relationship found between node 'n2' and this object";
    assert!(why("others").unwrap().ends_with(refused), "{:?}", why("others"));
    let pods = as_node.namespaced::<Pod>("default");
    let deleted = runtime.block_on(pods.delete("on-n3", DeleteOptions::default()));
    assert!(deleted.unwrap_err().to_string().ends_with(refused));
    // The volume follows its Secret, which the node watches by name.
    let changed = "apiVersion: v1\nkind: Secret\nmetadata: {name: own}\nstringData: {word: second}\n";
    cluster.apply("default", changed).unwrap();
    let uid = verb(&cluster, "get pod with-secret -o jsonpath={.metadata.uid}");
    let file = second.data().join("node/pods/default").join(uid).join("volumes/secret/word");
    until("the file has the new word", || Ok((fs::read_to_string(&file)? == "second").then_some(()))).unwrap();
    // Its certificate reads images, and writes none.
    let images =
        Https::new(&Kubeconfig { servers: vec![registry_of(&cluster)], ..kubeconfig_of(&cluster, &second) }).unwrap();
    let ask = |method: http::Method, path: &str| {
        runtime.block_on(images.call(method, path, "*/*", None, bytes::Bytes::new())).unwrap().0.as_u16()
    };
    assert_eq!(ask(http::Method::GET, "/v2/hello-http/tags/list"), 200);
    assert_eq!(ask(http::Method::DELETE, "/v2/hello-http/manifests/v1"), 403);
    assert_eq!(ask(http::Method::POST, "/v2/hello-http/blobs/uploads/"), 403);
    assert_eq!(ask(http::Method::GET, "/v2/hello-http/manifests/v1"), 200, "it is there still");
}

#[test]
fn certificates_are_renewed_without_a_restart() {
    let cluster = Cluster::start_as("master", WHERRY, &["--cluster-signing-duration", "3s"]).unwrap();
    let second = Machine::join(&cluster, "n2", "127.0.0.2", &token(&cluster, ""), &["--zone", "left"]).unwrap();
    for guest in ["hello-http", "batch"] {
        cluster.load_guest(guest).unwrap();
    }
    let files = [second.data().join("pki/node.crt"), second.data().join("pki/kubelet.crt"), cluster.kubeconfig()];
    for file in files {
        let mut seen = BTreeSet::new();
        until("a third certificate", || {
            seen.extend(fs::read_to_string(&file).ok());
            Ok((seen.len() > 2).then_some(()))
        })
        .unwrap();
    }
    // Two lives later, all still speak with all.
    cluster.apply("default", include_str!("join/pods.yaml")).unwrap();
    verb(&cluster, "wait --for condition=Ready pod/on-n2 --timeout 60s");
    assert_eq!(verb(&cluster, "logs on-n2"), "");
}
