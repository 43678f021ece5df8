use k8s_openapi::serde_json::{Value, json};
use wherry_client::Projection;

use super::backends::Site;
use super::surroundings::{Distance, Spread, Surroundings};
use super::*;

const CLIENT: &str = "10.128.0.99";

pub(crate) fn service(spec: Value) -> ServiceFacts {
    ServiceFacts::project(serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap())
}

/// A slice of `default/NAME` on one TCP port named `http`.
pub(crate) fn slice(name: &str, port: u16, endpoints: &[(&str, Value)]) -> SliceFacts {
    let endpoint = |(address, conditions): &(&str, Value)| json!({"addresses": [address], "conditions": conditions, "hostname": format!("pod-{}", &address[address.len() - 1..])});
    let endpoints: Vec<Value> = endpoints.iter().map(endpoint).collect();
    let object = json!({
        "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": port}],
    });
    SliceFacts::project(serde_json::from_value(object).unwrap())
}

pub(crate) fn ready() -> Value {
    json!({"ready": true, "serving": true, "terminating": false})
}

fn ending() -> Value {
    json!({"ready": false, "serving": true, "terminating": true})
}

pub(crate) fn table(services: &[(&str, ServiceFacts, Vec<SliceFacts>)]) -> Arc<Table> {
    let table = Table::new();
    update(&table, services);
    table
}

pub(crate) fn update(table: &Table, services: &[(&str, ServiceFacts, Vec<SliceFacts>)]) {
    let mut snapshot = table.snapshot();
    for (name, facts, slices) in services {
        let key = ObjectKey::new("default", name);
        let old = snapshot.get(&key).cloned();
        snapshot.set(&key, Some(Entry::build(facts, slices, &mut Surroundings::of("n1"), old.as_deref())));
    }
    table.store(snapshot);
}

pub(crate) fn web() -> ServiceFacts {
    service(json!({"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]}))
}

fn ask(table: &Table, to: &str) -> String {
    match table.translate(Protocol::Tcp, CLIENT.parse().unwrap(), to.parse().unwrap()) {
        Translation::Endpoint(address) => address.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn idle_endpoints_come_in_turn_and_only_ready_ones() {
    let mut endpoints = vec![("10.128.0.2", ready()), ("10.128.0.3", ready()), ("10.128.0.4", ending())];
    // The machine's own, in any spelling, are nobody's endpoints.
    endpoints.extend(["127.0.0.1", "::ffff:127.0.0.1", "::1", "0.0.0.0", "169.254.169.254"].map(|ip| (ip, ready())));
    let table = table(&[("web", web(), vec![slice("web", 8080, &endpoints)])]);
    let answers: Vec<String> = (0..4).map(|_| ask(&table, "10.96.0.1:80")).collect();
    assert_eq!(answers, ["10.128.0.2:8080", "10.128.0.3:8080", "10.128.0.2:8080", "10.128.0.3:8080"]);
    assert_eq!(ask(&table, "10.96.0.1:81"), "Refused");
    assert_eq!(ask(&table, "10.96.0.2:80"), "Direct");
}

#[test]
fn ending_endpoints_serve_where_nobody_else_does_and_then_nobody() {
    let table = table(&[("web", web(), vec![slice("web", 8080, &[("10.128.0.4", ending())])])]);
    assert_eq!(ask(&table, "10.96.0.1:80"), "10.128.0.4:8080");
    let gone = json!({"ready": false, "serving": false, "terminating": true});
    update(&table, &[("web", web(), vec![slice("web", 8080, &[("10.128.0.4", gone)])])]);
    assert_eq!(ask(&table, "10.96.0.1:80"), "Refused");
}

/// Endpoints of one port, each on a node of its own.
fn even(addresses: impl IntoIterator<Item = SocketAddr>, sticky: bool, old: Option<&Backends>) -> Backends {
    let nodes =
        |address| old.and_then(|old| old.known(address)).map(|known| Arc::clone(&known.node)).unwrap_or_default();
    let site = |address| Site { address, distance: Distance::Elsewhere, node: nodes(address) };
    Backends::new(addresses.into_iter().map(site), Spread::Even, sticky, old)
}

#[test]
fn busy_endpoints_yield_and_refusing_ones_are_passed_over() {
    let addresses = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"].map(|address| address.parse().unwrap());
    let backends = even(addresses, false, None);
    let client = CLIENT.parse().unwrap();
    let busy = backends.choose(client).unwrap().clone();
    let _in_flight = busy.begin();
    let chosen: Vec<SocketAddr> = (0..6).map(|_| backends.choose(client).unwrap().address).collect();
    assert!(!chosen.contains(&busy.address));
    let kept = even(addresses, false, Some(&backends));
    assert!((0..6).all(|_| kept.choose(client).unwrap().address != busy.address), "counts survive a new table");
    backends.choose(client).unwrap().avoid();
    let chosen: std::collections::HashSet<SocketAddr> =
        (0..6).map(|_| backends.choose(client).unwrap().address).collect();
    assert_eq!(chosen.len(), 1);
}

#[test]
fn session_affinity_holds_while_others_come_and_go() {
    let addresses: Vec<SocketAddr> = (1..9).map(|i| format!("10.0.0.{i}:1").parse().unwrap()).collect();
    let backends = even(addresses.clone(), true, None);
    let client = CLIENT.parse().unwrap();
    let chosen = backends.choose(client).unwrap().address;
    assert!((0..9).all(|_| backends.choose(client).unwrap().address == chosen));
    let fewer =
        addresses.into_iter().filter(|address| *address == chosen || address.ip().to_string().as_str() > "10.0.0.4");
    assert_eq!(even(fewer, true, None).choose(client).unwrap().address, chosen);
}

/// Endpoints on this node, on another of its zone, and on two of another zone.
const SITES: [(&str, &str, &str); 5] = [
    ("10.128.0.2", "n1", "east"),
    ("10.129.0.2", "n2", "east"),
    ("10.130.0.2", "n3", "west"),
    ("10.130.0.3", "n3", "west"),
    ("10.131.0.2", "n4", "west"),
];

/// A Service at 10.96.0.1 with all of `SITES`, on node `n1` in zone `east`.
fn spread_out(extra: Value) -> Arc<Table> {
    let mut spec = json!({"type": "NodePort", "clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let endpoint =
        |(address, node, zone): &(&str, &str, &str)| json!({"addresses": [address], "nodeName": node, "zone": zone});
    let object = json!({
        "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "endpoints": SITES.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "http", "port": 8080}],
    });
    let slices = [SliceFacts::project(serde_json::from_value(object).unwrap())];
    let mut around = Surroundings::of("n1");
    assert!(around.set_zone(Some("east".into())));
    let (table, mut snapshot) = (Table::new(), Snapshot::default());
    snapshot.set(&ObjectKey::new("default", "web"), Some(Entry::build(&service(spec), &slices, &mut around, None)));
    table.store(snapshot);
    table
}

/// The nodes of the endpoints that ten clients are given, without repetition.
fn nodes(backends: &Backends) -> String {
    let chosen: Vec<SocketAddr> = (0..10).map(|_| backends.choose(CLIENT.parse().unwrap()).unwrap().address).collect();
    let is_chosen = |address: &str| chosen.iter().any(|chosen| chosen.ip().to_string() == address);
    let mut nodes: Vec<&str> =
        SITES.iter().filter(|(address, ..)| is_chosen(address)).map(|(_, node, _)| *node).collect();
    nodes.dedup();
    nodes.join(" ")
}

#[test]
fn traffic_goes_where_the_service_prefers_it() {
    let check = |extra: Value, ingress: &str, pods: &str, node_port: &str| {
        let table = spread_out(extra.clone());
        let port = |snapshot: &Snapshot| {
            let port = &snapshot.get(&ObjectKey::new("default", "web")).unwrap().ports[0];
            (nodes(&port.backends), nodes(&port.internal), nodes(&port.external))
        };
        assert_eq!(port(&table.snapshot()), (ingress.into(), pods.into(), node_port.into()), "{extra}");
    };
    let all = "n1 n2 n3 n4";
    check(json!({}), all, all, all);
    check(json!({"trafficDistribution": "PreferSameNode"}), "n1", "n1", "n1");
    check(json!({"trafficDistribution": "PreferSameZone"}), "n1 n2", "n1 n2", "n1 n2");
    check(json!({"trafficDistribution": "PreferClose"}), "n1 n2", "n1 n2", "n1 n2");
    check(json!({"internalTrafficPolicy": "Local"}), all, "n1", all);
    check(json!({"externalTrafficPolicy": "Local"}), all, all, "n1");
}

#[test]
fn the_near_yield_when_they_fail_or_have_much_more_to_do() {
    let table = spread_out(json!({"trafficDistribution": "PreferSameNode"}));
    let backends = table.backends(&ObjectKey::new("default", "web"), &PortRef::Number(80)).unwrap();
    let near = backends.known("10.128.0.2:8080".parse().unwrap()).unwrap();
    let in_flight: Vec<Permit> = (0..33).map(|_| near.begin()).collect();
    assert_eq!(nodes(&backends), "n2");
    drop(in_flight);
    assert_eq!(nodes(&backends), "n1");
    let (service, at) = ("10.96.0.1:80".parse().unwrap(), "10.128.0.2:8080".parse().unwrap());
    table.failed(service, at, &DialError::Refused);
    assert_eq!(nodes(&backends), "n2");
    table.failed(service, "10.129.0.2:8080".parse().unwrap(), &DialError::Refused);
    assert_eq!(nodes(&backends), "n3 n4");
    // A whole node that cannot be reached is passed over, whichever of its endpoints was tried.
    table.failed(service, "10.130.0.2:8080".parse().unwrap(), &DialError::PeerUnreachable);
    assert_eq!(nodes(&backends), "n4");
    table.failed(service, "10.131.0.2:8080".parse().unwrap(), &DialError::Refused);
    assert_eq!(nodes(&backends), "n1", "where all have failed, the one whose failure is the longest ago");
    table.failed(service, at, &DialError::Refused);
    assert_eq!(nodes(&backends), "n2");
}

#[test]
fn a_datagrams_endpoint_is_known_while_it_serves() {
    let spec = json!({"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 53, "protocol": "UDP"}]});
    let mut slice = slice("dns", 5353, &[("10.129.0.2", ready())]);
    slice.ports[0].protocol = Protocol::Udp;
    let table = table(&[("dns", service(spec.clone()), vec![slice])]);
    let (to, endpoint) = ("10.96.0.1:53".parse().unwrap(), "10.129.0.2:5353".parse().unwrap());
    assert!(table.serves(to, endpoint));
    assert!(!table.serves(to, "10.129.0.3:5353".parse().unwrap()));
    update(&table, &[("dns", service(spec), vec![])]);
    assert!(!table.serves(to, endpoint));
}

#[test]
fn names_follow_the_dns_specification() {
    let headless = service(json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}));
    let alias = service(json!({"type": "ExternalName", "externalName": "example.com"}));
    let pods = [("10.128.0.2", ready()), ("10.128.0.3", ready()), ("10.128.0.4", ending())];
    let table =
        table(&[("web", web(), vec![]), ("db", headless, vec![slice("db", 8080, &pods)]), ("ext", alias, vec![])]);
    let check = |name: &str, expected: &str| {
        let found = match table.resolve("default", name) {
            Resolution::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Resolution::Alias(name) => format!("={name}"),
            other => format!("{other:?}"),
        };
        assert_eq!(found, expected, "{name}");
    };
    for name in [
        "web",
        "WEB",
        "web.default",
        "web.default.svc",
        "web.default.svc.cluster.local",
        "web.default.svc.cluster.local.",
    ] {
        check(name, "10.96.0.1");
    }
    check("db", "10.128.0.2 10.128.0.3");
    check("pod-3.db", "10.128.0.3");
    check("pod-3.db.default.svc.cluster.local", "10.128.0.3");
    check("pod-4.db", "Missing");
    check("ext", "=example.com");
    check("nope", "Foreign");
    check("web.other", "Foreign");
    check("web.other.svc", "Missing");
    check("web.cluster.local", "Missing");
    check("example.com", "Foreign");
    assert_eq!(table.resolve("other", "web"), Resolution::Foreign);
}

#[test]
fn a_service_that_goes_takes_its_address_with_it() {
    let table = table(&[("web", web(), vec![slice("web", 8080, &[("10.128.0.2", ready())])])]);
    let key = ObjectKey::new("default", "web");
    let backends = |port| table.backends(&key, &port).map(|backends| backends.addresses());
    assert_eq!(backends(PortRef::Name("http".into())), Some(vec!["10.128.0.2:8080".to_owned()]));
    assert_eq!(backends(PortRef::Number(80)), Some(vec!["10.128.0.2:8080".to_owned()]));
    assert_eq!(backends(PortRef::Number(8080)), None);
    let mut snapshot = table.snapshot();
    snapshot.set(&key, None);
    table.store(snapshot);
    assert_eq!(ask(&table, "10.96.0.1:80"), "Direct");
}
