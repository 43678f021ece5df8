//! Traffic between nodes: every pod reaches every other, whatever its node isolates it by; and a node dies under requests.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use wherry_api::kinds::{Pod, Service};
use wherry_tests::{Cluster, Machine, get, play, tcp_exchange, udp_exchange, until};

use crate::WHERRY;
use crate::commands::verb;
use crate::load::Load;
use crate::masters::group::Group;
use crate::objects::{endpoints_ready, ingress, service};

/// The nodes that every scene has: that of the master's process, and two more.
const NODES: [&str; 3] = ["wherry", "n2", "n3"];
/// Another, which nobody connects to either.
const FOURTH: &str = "n4";
/// What such nodes are started with. The address of both is the same: they are at home in different networks.
const HIDDEN: [&str; 3] = ["--behind-nat", "--advertise-address", "192.0.2.2"];

struct Nodes {
    cluster: Cluster,
    token: String,
    second: Machine,
    _third: Machine,
}

impl Nodes {
    /// Sandboxes on two of the nodes, modules in the node's process on the third, which nobody connects to.
    fn start(guests: &[&str]) -> Self {
        let cluster = Cluster::start(WHERRY).unwrap();
        for guest in guests {
            cluster.load_guest(guest).unwrap();
        }
        let token = cluster.wherry(&["token", "create"]).unwrap().stdout;
        let token = String::from_utf8(token).unwrap().trim().to_owned();
        let join = |name, address, more: &[&str]| Machine::join(&cluster, name, address, &token, more).unwrap();
        let second = join("n2", "127.0.0.2", &["--isolation", "namespace"]);
        let third = join("n3", "127.0.0.3", &[&["--isolation", "shared"][..], &HIDDEN].concat());
        Self { cluster, token, second, _third: third }
    }

    fn node_port(&self, namespace: &str, service: &str) -> u16 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let services = self.cluster.client().unwrap().namespaced::<Service>(namespace);
        let spec = runtime.block_on(services.get(service)).unwrap().spec.unwrap();
        spec.ports.unwrap()[0].node_port.unwrap().try_into().unwrap()
    }
}

/// A pod on a node, ready once it listens.
fn server(node: &str, app: &str, image: &str, port: u16) -> String {
    let probe = if image == "echo-udp" { "" } else { "readinessProbe: {tcpSocket: {port: PORT}, periodSeconds: 1}" };
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {app}-{node}, labels: {{app: {app}, on: {app}-{node}}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: {image}:v1
      env: [{{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}]
      ports: [{{containerPort: {port}}}]
      {}
",
        probe.replace("PORT", &port.to_string())
    )
}

/// A pod on a node that calls once and ends.
fn caller(node: &str, name: &str, to: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  restartPolicy: Never
  containers: [{{name: c, image: 'call-service:v1', args: ['{to}', hi]}}]
"
    )
}

#[test]
fn every_pod_is_reached_from_every_node() {
    let nodes = Nodes::start(&["echo-tcp", "echo-udp", "call-service", "hello-http"]);
    let _fourth = Machine::join(&nodes.cluster, FOURTH, "127.0.0.4", &nodes.token, &HIDDEN).unwrap();
    play(&[
        ("pods reach pods by address, Service and name, from and to nodes behind NAT too", &|| pods(&nodes)),
        ("node ports of one node lead to pods of another", &|| node_ports(&nodes)),
        ("the ingress of one node serves pods of others", &|| served_by_ingress(&nodes.cluster)),
        ("traffic keeps to the node where that is wished", &|| preference(&nodes)),
    ]);
}

fn pods(nodes: &Nodes) {
    let cluster = &nodes.cluster;
    let all = [&NODES[..], &[FOURTH]].concat();
    let servers: String = all.iter().map(|node| server(node, "echo", "echo-tcp", 7000)).collect();
    let one =
        |node: &&str| service("SERVICE", 7000).replace("SERVICE", &format!("echo-{node}")).replace("app: ", "on: ");
    cluster.apply("pods", &(servers + &all.iter().map(one).collect::<String>())).unwrap();
    let addresses: Vec<String> = all
        .iter()
        .map(|node| {
            endpoints_ready(cluster, "pods", &format!("echo-{node}"), 1);
            pod(cluster, "pods", &format!("echo-{node}")).status.unwrap().pod_ip.unwrap()
        })
        .collect();
    let mut callers = Vec::new();
    for &from in &all {
        for (to, address) in all.iter().zip(&addresses) {
            callers.push((from, format!("{from}-{to}-address"), format!("{address}:7000"), *to));
            callers.push((from, format!("{from}-{to}-name"), format!("echo-{to}.pods:80"), *to));
        }
        // A port that nobody has, of a pod of another node.
        let other = if from == "n2" { &addresses[2] } else { &addresses[1] };
        callers.push((from, format!("{from}-refused"), format!("{other}:7001"), "refused"));
    }
    let manifests: String = callers.iter().map(|(node, name, to, _)| caller(node, name, to)).collect();
    cluster.apply("pods", &manifests).unwrap();
    for (_, name, to, whom) in &callers {
        let said = outcome(cluster, "pods", name);
        let expected = match *whom {
            "refused" => "failed: ConnectionRefused".to_owned(),
            node => format!("answered: hi (echo-{node})"),
        };
        assert!(said.contains(&expected), "{name} to {to}: wanted {expected:?}, got {said:?}");
    }
}

fn node_ports(nodes: &Nodes) {
    let cluster = &nodes.cluster;
    let service = |app: &str, protocol: &str| {
        let spec = format!(
            "{{type: NodePort, selector: {{app: {app}}}, ports: [{{port: 7, targetPort: 7000, protocol: {protocol}}}]}}"
        );
        format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {app}}}\nspec: {spec}\n")
    };
    let manifests = [
        server("n2", "tcp", "echo-tcp", 7000),
        server("n3", "udp", "echo-udp", 7000),
        service("tcp", "TCP"),
        service("udp", "UDP"),
    ];
    cluster.apply("ports", &manifests.concat()).unwrap();
    endpoints_ready(cluster, "ports", "tcp", 1);
    endpoints_ready(cluster, "ports", "udp", 1);
    let (tcp, udp) = (nodes.node_port("ports", "tcp"), nodes.node_port("ports", "udp"));
    // More than all buffers on the way hold, there and back, with an end of each direction.
    let line = "x".repeat(1000);
    let answer = until("the node port answers", || Ok(tcp_exchange(tcp, "a\nb\n").ok().filter(|a| !a.is_empty())));
    assert_eq!(answer.unwrap(), "a (tcp-n2)\nb (tcp-n2)\n");
    assert_eq!(tcp_exchange(tcp, &format!("{line}\n").repeat(100)).unwrap(), format!("{line} (tcp-n2)\n").repeat(100));
    assert_eq!(udp_exchange(udp, "ahoy").unwrap(), "ahoy (udp-n3)");
    let large = "x".repeat(8000);
    assert_eq!(udp_exchange(udp, &large).unwrap(), format!("{large} (udp-n3)"));
}

/// Pods of `hello-http` on these nodes, with a Service and a host of the namespace's name.
fn web(cluster: &Cluster, namespace: &str, on: &[&str]) {
    let pods: String = on.iter().map(|node| server(node, "web", "hello-http", 8080)).collect();
    let rules = ingress("web", &format!("{namespace}.localhost / Prefix web"), "");
    cluster.apply(namespace, &(pods + &service("web", 8080) + &rules)).unwrap();
    endpoints_ready(cluster, namespace, "web", on.len());
}

/// The nodes of the pods that answer the ingress of the first node, without repetition.
fn answering(cluster: &Cluster, host: &str) -> BTreeSet<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = cluster.ports().unwrap().http;
    let ask = || runtime.block_on(get(port, host, "/"));
    until("the ingress knows the host", || Ok(ask().ok().filter(|answer| answer.status == 200))).unwrap();
    (0..12)
        .map(|_| {
            let answer = ask().unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            NODES.iter().find(|node| answer.body.contains(&format!("web-{node}"))).unwrap_or(&"?").to_string()
        })
        .collect()
}

fn served_by_ingress(cluster: &Cluster) {
    web(cluster, "elsewhere", &["n2", "n3"]);
    assert_eq!(answering(cluster, "elsewhere.localhost"), BTreeSet::from(["n2".into(), "n3".into()]));
    web(cluster, "everywhere", &NODES);
    assert_eq!(answering(cluster, "everywhere.localhost").len(), 3, "all are equal");
}

fn preference(nodes: &Nodes) {
    let cluster = &nodes.cluster;
    web(cluster, "near", &NODES);
    let patch = "{\"spec\":{\"trafficDistribution\":\"PreferSameNode\"}}";
    let output = cluster.wherry(&["patch", "service", "web", "-n", "near", "--type", "merge", "-p", patch]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let own = BTreeSet::from(["wherry".to_owned()]);
    until("its own pod alone answers", || Ok((answering(cluster, "near.localhost") == own).then_some(()))).unwrap();
    // It goes: the others are asked.
    assert!(cluster.wherry(&["delete", "pod", "-n", "near", "web-wherry"]).unwrap().status.success());
    assert_eq!(answering(cluster, "near.localhost").len(), 2);
}

#[test]
fn a_node_that_is_killed_under_requests_costs_none() {
    let mut nodes = Nodes::start(&["hello-http"]);
    web(&nodes.cluster, "web", &["n2", "n3"]);
    assert_eq!(answering(&nodes.cluster, "web.localhost").len(), 2);
    let port = nodes.cluster.ports().unwrap().http;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let load = Load::begin(&runtime, "web.localhost", vec![(Ipv4Addr::LOCALHOST, port).into()]);
    // Neither moment needs accuracy: requests are on their way all the time.
    std::thread::sleep(Duration::from_millis(500));
    nodes.second.kill().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let (count, failures) = load.end(&runtime);
    eprintln!("{count} requests, {} failed", failures.len());
    assert!(failures.is_empty(), "{} of {count} requests failed: {:?}", failures.len(), failures.first());
    assert!(count > 50, "only {count} requests were made");
    assert_eq!(answering(&nodes.cluster, "web.localhost"), BTreeSet::from(["n3".into()]));
    // Back under its name, it is asked again.
    nodes.second.restart().unwrap();
    until("both answer", || Ok((answering(&nodes.cluster, "web.localhost").len() == 2).then_some(()))).unwrap();
}

#[test]
fn each_master_reaches_a_node_behind_nat() {
    let group = Group::of(2);
    let first = &group.masters[0];
    first.load_guest("echo-tcp").unwrap();
    let _hidden = Machine::join(first, "n2", "127.0.0.3", &verb(first, "token create"), &HIDDEN).unwrap();
    first.apply("default", &server("n2", "echo", "echo-tcp", 7000)).unwrap();
    verb(first, "wait --for condition=Ready pod/echo-n2 --timeout 60s");
    for master in &group.masters {
        assert!(verb(master, "logs echo-n2").contains("listening on"));
    }
}

fn pod(cluster: &Cluster, namespace: &str, name: &str) -> Pod {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(cluster.client().unwrap().namespaced::<Pod>(namespace).get(name)).unwrap()
}

/// The log of a pod that has ended.
fn outcome(cluster: &Cluster, namespace: &str, name: &str) -> String {
    until(&format!("{name} ends"), || {
        let status = pod(cluster, namespace, name).status.unwrap_or_default();
        Ok(matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")).then_some(()))
    })
    .unwrap();
    verb(cluster, &format!("logs -n {namespace} {name}"))
}
