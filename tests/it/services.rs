//! Services as a pod and the outside world meet them: affinity, node ports, names, egress.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;
use wherry_api::kinds::{Pod, Service};
use wherry_tests::{Cluster, Connection, play, tcp_exchange, udp_exchange, until};

use crate::WHERRY;
use crate::objects::endpoints_ready;

/// What "at once" is at most: ten times what it takes, a tenth of what a time-out would take.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn services_from_inside_and_outside() {
    let cluster = Cluster::start(WHERRY).unwrap();
    for guest in ["echo-tcp", "echo-udp", "call-service", "misbehave"] {
        cluster.load_guest(guest).unwrap();
    }
    play(&[
        ("a client with affinity stays with one pod", &|| affinity(&cluster)),
        ("node ports carry TCP with half-close", &|| node_port_tcp(&cluster)),
        ("node ports carry UDP", &|| node_port_udp(&cluster)),
        ("names lead to Services, pods and aliases", &|| names(&cluster)),
        ("egress is denied at once, or allowed", &|| egress(&cluster)),
        ("no endpoint is an address of the machine itself", &|| special_addresses(&cluster)),
    ]);
}

/// Pods `NAME-0`… that run an echo server, ready once they listen, labelled `app: NAME`.
fn echo(name: &str, image: &str, count: u32) -> String {
    let probe = if image.contains("tcp") { "readinessProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}" } else { "" };
    let pod = |index: u32| {
        format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}-{index}, labels: {{app: {name}}}}}
spec:
  hostname: {name}-{index}
  subdomain: {name}
  terminationGracePeriodSeconds: 1
  containers:
    - name: echo
      image: {image}:v1
      env: [{{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}]
      ports: [{{containerPort: 7000}}]
      {probe}
"
        )
    };
    (0..count).map(pod).collect()
}

/// A pod that calls once and ends.
fn caller(name: &str, image: &str, arguments: &[&str]) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  containers:
    - name: caller
      image: {image}:v1
      args: {arguments:?}
"
    )
}

/// The log of a pod that has ended.
fn outcome(cluster: &Cluster, namespace: &str, pod: &str) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = cluster.client().unwrap().namespaced::<Pod>(namespace);
    until(&format!("{pod} ends"), || {
        let status = runtime.block_on(api.get(pod))?.status.unwrap_or_default();
        Ok(matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")).then_some(()))
    })
    .unwrap();
    String::from_utf8(cluster.wherry(&["logs", "-n", namespace, pod]).unwrap().stdout).unwrap()
}

fn node_port(cluster: &Cluster, namespace: &str, service: &str) -> u16 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let service = runtime.block_on(cluster.client().unwrap().namespaced::<Service>(namespace).get(service)).unwrap();
    service.spec.unwrap().ports.unwrap()[0].node_port.unwrap().try_into().unwrap()
}

/// A node port is open once it answers.
fn eventually_exchanged(port: u16, text: &str) -> String {
    until("the node port answers", || Ok(tcp_exchange(port, text).ok().filter(|answer| !answer.is_empty()))).unwrap()
}

fn affinity(cluster: &Cluster) {
    let service = |name: &str, affinity: &str| {
        format!(
            "---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: NodePort, selector: {{app: echo}}, sessionAffinity: {affinity}, ports: [{{port: 7, targetPort: 7000}}]}}
"
        )
    };
    let manifests = [echo("echo", "echo-tcp", 3), service("sticky", "ClientIP"), service("turns", "None")].concat();
    cluster.apply("affinity", &manifests).unwrap();
    endpoints_ready(cluster, "affinity", "sticky", 3);
    endpoints_ready(cluster, "affinity", "turns", 3);
    let pods = |service: &str| -> BTreeSet<String> {
        let port = node_port(cluster, "affinity", service);
        (0..9).map(|_| eventually_exchanged(port, "hi\n")).collect()
    };
    assert_eq!(pods("turns").len(), 3);
    let chosen = pods("sticky");
    assert_eq!(chosen.len(), 1, "{chosen:?}");
    // The pod goes: the client moves to another and stays there.
    let pod = chosen.first().unwrap().trim().trim_start_matches("hi (").trim_end_matches(')');
    assert!(cluster.wherry(&["delete", "pod", "-n", "affinity", pod]).unwrap().status.success());
    endpoints_ready(cluster, "affinity", "sticky", 2);
    let moved = pods("sticky");
    assert!(moved.len() == 1 && moved != chosen, "{chosen:?}, then {moved:?}");
}

fn node_port_tcp(cluster: &Cluster) {
    let service = "---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {type: NodePort, selector: {app: echo}, ports: [{port: 7, targetPort: 7000}]}
";
    cluster.apply("tcp", &[&echo("echo", "echo-tcp", 1), service].concat()).unwrap();
    endpoints_ready(cluster, "tcp", "echo", 1);
    let port = node_port(cluster, "tcp", "echo");
    assert_eq!(eventually_exchanged(port, "one\ntwo\n"), "one (echo-0)\ntwo (echo-0)\n");
    let mut connection = Connection::open(port).unwrap();
    for round in 0..3 {
        assert_eq!(connection.ask(&round.to_string()).unwrap(), format!("{round} (echo-0)"));
    }
    // More than all buffers on the way hold, while the guest answers as it reads.
    let line = "x".repeat(1000);
    let text = format!("{line}\n").repeat(2000);
    drop(connection);
    assert_eq!(tcp_exchange_at_once(port, &text), 2000 * (line.len() + " (echo-0)\n".len()));
    // Nobody serves: the connection ends at once. The Service goes: the port closes.
    assert!(cluster.wherry(&["delete", "pod", "-n", "tcp", "echo-0"]).unwrap().status.success());
    endpoints_ready(cluster, "tcp", "echo", 0);
    let start = Instant::now();
    assert!(!tcp_exchange(port, "hi\n").is_ok_and(|answer| !answer.is_empty()));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert!(cluster.wherry(&["delete", "service", "-n", "tcp", "echo"]).unwrap().status.success());
    until("the port is closed", || Ok(TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(()))).unwrap();
}

/// Sends and reads at the same time; the bytes that came back.
fn tcp_exchange_at_once(port: u16, text: &str) -> usize {
    let stream = wherry_tests::connect(port).unwrap();
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(text.as_bytes()).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        Connection::over(stream).rest().unwrap().len()
    })
}

fn node_port_udp(cluster: &Cluster) {
    let service = "---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {type: NodePort, selector: {app: echo}, ports: [{port: 7, targetPort: 7000, protocol: UDP}]}
";
    cluster.apply("udp", &[&echo("echo", "echo-udp", 1), service].concat()).unwrap();
    endpoints_ready(cluster, "udp", "echo", 1);
    let port = node_port(cluster, "udp", "echo");
    assert_eq!(udp_exchange(port, "ahoy").unwrap(), "ahoy (echo-0)");
    let large = "x".repeat(8000);
    assert_eq!(udp_exchange(port, &large).unwrap(), format!("{large} (echo-0)"));
    // The pod is replaced: a client that goes on from the same port reaches the new one.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let asked = |expected: &str| {
        until(expected, || {
            let _sent = socket.send(b"hi");
            let mut buffer = [0; 100];
            let answer = socket.recv(&mut buffer).map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
            Ok(answer.ok().filter(|answer| answer.contains(expected)))
        })
        .unwrap()
    };
    asked("hi (echo-0)");
    assert!(cluster.wherry(&["delete", "pod", "-n", "udp", "echo-0"]).unwrap().status.success());
    cluster.apply("udp", &echo("echo", "echo-udp", 1).replace("echo-0", "other-0")).unwrap();
    endpoints_ready(cluster, "udp", "echo", 1);
    asked("(other-0)");
}

fn names(cluster: &Cluster) {
    let services = "---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {clusterIP: None, selector: {app: echo}, ports: [{port: 7000}]}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {selector: {app: echo}, ports: [{port: 7, targetPort: 7000}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: plain.names.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: wherry.invalid}
";
    cluster.apply("names", &[&echo("echo", "echo-tcp", 2), services].concat()).unwrap();
    endpoints_ready(cluster, "names", "echo", 2);
    endpoints_ready(cluster, "names", "plain", 2);
    let cases = [
        ("plain:7", "answered: hi (echo-"),
        ("plain.names:7", "answered: hi (echo-"),
        ("plain.names.svc.cluster.local:7", "answered: hi (echo-"),
        ("echo:7000", "answered: hi (echo-"),
        ("echo-1.echo:7000", "answered: hi (echo-1)"),
        ("echo-0.echo.names.svc.cluster.local:7000", "answered: hi (echo-0)"),
        ("alias:7", "answered: hi (echo-"),
        ("plain:8", "failed: ConnectionRefused"),
        ("missing:7", "failed: "),
        ("outside:7", "failed: "),
    ];
    let callers = cases.iter().enumerate();
    let callers = callers.map(|(index, (to, _))| caller(&format!("caller-{index}"), "call-service", &[to, "hi"]));
    cluster.apply("names", &callers.collect::<String>()).unwrap();
    for (index, (to, expected)) in cases.iter().enumerate() {
        let said = outcome(cluster, "names", &format!("caller-{index}"));
        assert!(said.contains(expected), "{to}: wanted {expected:?}, got {said:?}");
    }
}

/// An address of this machine that is not its loopback; asking the kernel for a route sends nothing.
fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| ip.is_ipv4() && !ip.is_loopback())
}

fn egress(cluster: &Cluster) {
    let allowed = |pod: String| pod.replace("metadata: {", "metadata: {annotations: {wherry.dev/egress: allow}, ");
    let outside = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let greeter = thread::spawn(move || {
        let mut caller = Connection::over(outside.accept().unwrap().0);
        assert_eq!(caller.line().unwrap(), "hello");
        caller.send("from outside\n").unwrap();
    });
    let (own, far) = (format!("127.0.0.1:{port}"), "192.0.2.1:80");
    let here = address_of_this_machine().map(|ip| format!("{ip}:{port}"));
    let mut pods = vec![
        ("denied", caller("denied", "misbehave", &["forbidden-connect", far]), "PermissionDenied"),
        // A pod's localhost is its own, whatever it may do outside.
        ("own", allowed(caller("own", "call-service", &[&own])), "ConnectionRefused"),
    ];
    match &here {
        Some(here) => pods.extend([
            ("denied-here", caller("denied-here", "call-service", &[here]), "PermissionDenied"),
            ("allowed", allowed(caller("allowed", "call-service", &[here])), "answered: from outside"),
        ]),
        None => eprintln!("SKIPPED: this machine has only its loopback, so allowed egress leads nowhere"),
    }
    cluster.apply("egress", &pods.iter().map(|(_, manifest, _)| manifest.as_str()).collect::<String>()).unwrap();
    for (pod, _, expected) in &pods {
        let said = outcome(cluster, "egress", pod);
        assert!(said.contains(expected), "{pod}: wanted {expected:?}, got {said:?}");
    }
    if here.is_some() {
        greeter.join().unwrap();
    }
}

fn special_addresses(cluster: &Cluster) {
    for address in ["127.0.0.1", "0.0.0.0", "169.254.169.254", "::ffff:127.0.0.1", "224.0.0.1"] {
        let manifest = format!(
            "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: own, labels: {{kubernetes.io/service-name: own}}}}
addressType: IPv4
ports: [{{port: 22}}]
endpoints: [{{addresses: ['{address}']}}]
"
        );
        let error = cluster.apply("default", &manifest).unwrap_err().to_string();
        assert!(error.contains("endpoints[0].addresses[0]") && error.contains("may not be"), "{address}: {error}");
    }
}
