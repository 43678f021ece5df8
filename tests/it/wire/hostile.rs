//! Clients that mean no good, or know no better: each gets a clear answer or the door, and nothing changes.

use std::io::{ErrorKind, Read, Write};
use std::thread;

use serde_json::json;
use wherry_tests::{Cluster, connect};

use super::raw::{Who, open};
use super::{JSON, MERGE, World, config_map, names};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// More than the server takes of anything.
const ENDLESS_BYTES: usize = 16 << 20;
const PIECE_BYTES: usize = 16 << 10;
/// What the process may hold when all is over, in bytes.
const RESIDENT_BYTES_MAX: u64 = 1 << 30;

pub fn bodies(world: &World) {
    let deep = 100_000;
    let large =
        |bytes: usize| format!(r#"{{"metadata": {{"name": "large"}}, "data": {{"a": "{}"}}}}"#, "x".repeat(bytes));
    let copies = vec![json!({"op": "copy", "from": "/data", "path": "/data/x"}); 500];
    world.create(MAPS, &json!({"metadata": {"name": "target"}, "data": {"a": "x".repeat(10_000)}}));
    let target = format!("{MAPS}/target");
    let post = |content_type, body: Vec<u8>| ("POST", MAPS, content_type, body);
    for ((method, path, content_type, body), code, reason) in [
        (post(JSON, large(4 << 20).into_bytes()), 413, "RequestEntityTooLarge"),
        (post(JSON, large(2 << 20).into_bytes()), 422, "Invalid"),
        (post(JSON, "[".repeat(deep).into_bytes()), 400, "BadRequest"),
        (post(JSON, "{\"a\":".repeat(deep).into_bytes()), 400, "BadRequest"),
        (post(JSON, b"{\"metadata\": {\"name\": \"\xff\xfe\"}}".to_vec()), 400, "BadRequest"),
        (post(JSON, b"\0\0\0".to_vec()), 400, "BadRequest"),
        (post("application/vnd.kubernetes.protobuf", vec![0xff; 100_000]), 400, "BadRequest"),
        (post("application/yaml", bomb().into_bytes()), 400, "BadRequest"),
        (post("application/yaml", "[".repeat(deep).into_bytes()), 400, "BadRequest"),
        (post("application/yaml", b"a: \xff".to_vec()), 400, "BadRequest"),
        (("PATCH", &target, MERGE, "{\"a\":".repeat(deep).into_bytes()), 400, "BadRequest"),
        (
            ("PATCH", &target, "application/json-patch+json", json!(copies).to_string().into_bytes()),
            413,
            "RequestEntityTooLarge",
        ),
        (("DELETE", &target, JSON, "[".repeat(deep).into_bytes()), 400, "BadRequest"),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
        let told = world.send(method, path, JSON, content_type, body);
        assert_eq!(told.status, code, "{method} {content_type} {shown}: {}", told.body);
        told.refused(code, reason);
        assert!(told.body.to_string().len() < 10_000, "{shown}: a short answer");
    }
    world.delete(&target, &json!({})).expect(200);
}

/// YAML of a few lines that means billions of items.
fn bomb() -> String {
    (0..12).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
        let row = vec![format!("*a{i}"); 12].join(", ");
        text + &format!("a{}: &a{} [{row}]\n", i + 1, i + 1)
    })
}

pub fn yaml(world: &World, cluster: &Cluster) {
    for (file, text) in
        [("bomb.yaml", bomb()), ("deep.yaml", "[".repeat(100_000)), ("colons.yaml", "a: b: c: d".into())]
    {
        let path = cluster.data().join(file);
        std::fs::write(&path, text).unwrap();
        let output = cluster.wherry(&["apply", "-f", &path.display().to_string()]).unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(file), "{file}: {error}");
        assert!(error.len() < 2_000, "{file}: {error}");
    }
    world.get(MAPS).expect(200);
}

pub fn queries(world: &World) {
    let many = |one: &str, count: usize| vec![one; count].join("%2C");
    for (query, code) in [
        (format!("labelSelector={}", many("a", 5_000)), 400),
        (format!("labelSelector=a%20in%20({})", many("x", 5_000)), 400),
        (format!("labelSelector=a%20in%20({})", many("x", 500)), 200),
        (format!("labelSelector={}", "(".repeat(10_000)), 400),
        (format!("fieldSelector={}", many("metadata.name!%3Da", 2_000)), 400),
        (format!("labelSelector=a%3D{}", "x".repeat(10_000)), 400),
        ("labelSelector=%ff%fe".to_owned(), 400),
        ("limit=18446744073709551615".to_owned(), 200),
        ("limit=18446744073709551616".to_owned(), 400),
        ("limit=-1".to_owned(), 400),
        ("continue=AAAA".to_owned(), 400),
        ("watch=1&timeoutSeconds=x".to_owned(), 400),
    ] {
        let told = world.get(&format!("{MAPS}?{query}"));
        assert_eq!(told.status, code, "{}: {}", &query[..query.len().min(40)], told.body);
    }
}

pub fn objects(world: &World) {
    let labels: serde_json::Map<String, serde_json::Value> =
        (0..60_000).map(|i| (format!("bad label {i}"), "x".into())).collect();
    let told = world.post(MAPS, &json!({"metadata": {"name": "labels", "labels": labels}}));
    told.refused(422, "Invalid");
    assert!(told.body.to_string().len() < 200_000, "{} bytes of faults", told.body.to_string().len());
    let containers: Vec<_> = (0..60_000).map(|i| json!({"name": format!("c{i}"), "image": "i"})).collect();
    let pod = json!({"metadata": {"name": "crowd"}, "spec": {"containers": containers}});
    world.post("/api/v1/namespaces/default/pods", &pod).refused(413, "RequestEntityTooLarge");
    let same: Vec<_> = (0..60_000).map(|_| json!({"name": "c", "image": "i"})).collect();
    let pod = json!({"metadata": {"name": "crowd"}, "spec": {"containers": same}});
    world.post("/api/v1/namespaces/default/pods", &pod).refused(422, "Invalid");
    let faults: Vec<String> = (0..30_000).map(|i| format!("\"frob{i}\": 1")).collect();
    let body = format!("{{\"metadata\": {{\"name\": \"unknown\"}}, {}}}", faults.join(","));
    let told = world.send("POST", &format!("{MAPS}?dryRun=All"), JSON, JSON, body).expect(201);
    assert!(told.warnings.len() <= 32, "{}", told.warnings.len());
}

/// Sends `head`, then `piece` again and again until the connection is cut: the first line of the answer, if any.
fn pour(world: &World, head: &str, piece: &[u8]) -> Option<String> {
    let mut stream = open(world, Who::Administrator);
    stream.write_all(head.as_bytes()).unwrap();
    let mut poured = 0;
    let mut answer = Vec::new();
    while poured < ENDLESS_BYTES {
        let sent = stream.write_all(piece).and_then(|()| stream.flush());
        poured += piece.len();
        if sent.is_err() {
            break;
        }
    }
    assert!(poured < ENDLESS_BYTES, "{head:?}: all was taken");
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..length]);
    }
    // A cut that comes before the answer is read may take the answer along.
    String::from_utf8_lossy(&answer).lines().next().map(str::to_owned)
}

pub fn endless(world: &World) {
    let check = |head: &str, piece: &[u8], expected: &[&str]| {
        let line = pour(world, head, piece);
        let fits = |line: &str| expected.iter().any(|code| line.starts_with(&format!("HTTP/1.1 {code}")));
        assert!(line.as_deref().is_none_or(fits), "{head:?}: {line:?}");
    };
    let letters = vec![b'a'; PIECE_BYTES];
    check("GET /", &letters, &["431", "414"]);
    check("GET /version HTTP/1.1\r\nhost: x\r\nx-long: ", &letters, &["431"]);
    check("GET /version HTTP/1.1\r\nhost: x\r\n", "x: y\r\n".repeat(2_000).as_bytes(), &["431"]);
    let chunk = format!("{PIECE_BYTES:x}\r\n{}\r\n", "a".repeat(PIECE_BYTES));
    let head = |more: &str| format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\n{more}\r\n\r\n");
    check(&head("transfer-encoding: chunked"), chunk.as_bytes(), &["413"]);
    check(&head("content-length: 999999999999"), &letters, &["413"]);
}

/// These wait for the server's patience, all at once.
pub fn silent(world: &World) {
    let half = format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{");
    let cases = [
        (Who::Stranger, ""),
        (Who::Stranger, "GET /version HTTP/1.1\r\nhost: ex"),
        (Who::Administrator, "GET /version HTTP/1.1\r\nhost: ex"),
        (Who::Administrator, half.as_str()),
    ];
    thread::scope(|scope| {
        for (who, sent) in cases {
            scope.spawn(move || {
                let mut stream = open(world, who);
                stream.sock.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
                stream.write_all(sent.as_bytes()).unwrap();
                let mut answer = Vec::new();
                let ended = stream.read_to_end(&mut answer);
                let still_open = ended.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
                assert!(!still_open, "{who:?} {sent:?} is still open");
                if sent.starts_with("POST") {
                    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 504"), "{answer:?}");
                }
            });
        }
        scope.spawn(|| {
            // No TLS at all.
            let mut stream = connect(world.ports.api).unwrap();
            assert!(stream.read_to_end(&mut Vec::new()).is_ok());
        });
    });
}

/// Watches and lists that nobody reads, while much is written.
pub fn deaf(world: &World) {
    let maps = format!("{}/configmaps", world.namespace("deaf"));
    let filler = "x".repeat(100_000);
    let body = |n: usize| json!({"metadata": {"name": format!("m{}", n % 10), "labels": {"v": "1"}}, "data": {"n": n.to_string(), "filler": filler}});
    for n in 0..10 {
        world.create(&maps, &body(n));
    }
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut unread: Vec<_> = (0..100)
        .map(|n| {
            let mut stream = open(world, Who::Administrator);
            let path = if n % 2 == 0 { format!("{maps}?watch=1") } else { maps.clone() };
            stream.write_all(request(&path).as_bytes()).unwrap();
            stream
        })
        .collect();
    for n in 10..310 {
        world.put(&format!("{maps}/m{}", n % 10), &body(n)).expect(200);
    }
    // The others are served, and who reads at last is served too.
    assert_eq!(names(&world.get(&format!("{maps}?labelSelector=v")).body).len(), 10);
    let mut first = [0; 15];
    unread[0].read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
}

/// Thousands of connections that do nothing.
pub fn crowd(world: &World) {
    let idle: Vec<_> = (0..3_000).map_while(|_| connect(world.ports.api).ok()).collect();
    assert!(idle.len() > 500, "{} connections", idle.len());
    world.create(MAPS, &config_map("crowd", "1"));
    world.delete(&format!("{MAPS}/crowd"), &json!({})).expect(200);
}

/// After all that: the objects that were there, and memory within bounds.
pub fn nothing_changed(world: &World) {
    let left = names(&world.get(&format!("{MAPS}?labelSelector=!kubernetes.io/x")).body);
    let ours: Vec<&String> = left.iter().filter(|name| *name != "kube-root-ca.crt").collect();
    assert!(ours.is_empty(), "{ours:?}");
    assert!(names(&world.get("/api/v1/namespaces/default/pods").body).is_empty());
    let resident = resident_bytes(world.process);
    assert!(resident < RESIDENT_BYTES_MAX, "{resident} bytes");
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
