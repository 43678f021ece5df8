use k8s_openapi::serde_json::{Value, json};
use wherry_client::Projection;

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
        snapshot.set(&key, Some(Entry::build(facts, slices, old.as_deref())));
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

#[test]
fn busy_endpoints_yield_and_refusing_ones_are_passed_over() {
    let addresses = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"].map(|address| address.parse().unwrap());
    let backends = Backends::new(addresses, false, None);
    let client = CLIENT.parse().unwrap();
    let busy = backends.choose(client).unwrap().clone();
    let _in_flight = busy.begin();
    let chosen: Vec<SocketAddr> = (0..6).map(|_| backends.choose(client).unwrap().address).collect();
    assert!(!chosen.contains(&busy.address));
    let kept = Backends::new(addresses, false, Some(&backends));
    assert!((0..6).all(|_| kept.choose(client).unwrap().address != busy.address), "counts survive a new table");
    backends.choose(client).unwrap().avoid();
    let chosen: std::collections::HashSet<SocketAddr> =
        (0..6).map(|_| backends.choose(client).unwrap().address).collect();
    assert_eq!(chosen.len(), 1);
}

#[test]
fn session_affinity_holds_while_others_come_and_go() {
    let addresses: Vec<SocketAddr> = (1..9).map(|i| format!("10.0.0.{i}:1").parse().unwrap()).collect();
    let backends = Backends::new(addresses.clone(), true, None);
    let client = CLIENT.parse().unwrap();
    let chosen = backends.choose(client).unwrap().address;
    assert!((0..9).all(|_| backends.choose(client).unwrap().address == chosen));
    let fewer =
        addresses.into_iter().filter(|address| *address == chosen || address.ip().to_string().as_str() > "10.0.0.4");
    assert_eq!(Backends::new(fewer, true, None).choose(client).unwrap().address, chosen);
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
