//! The ingress as clients outside meet it: rules, failures, headers, upgrades, and clients that misbehave.

mod hostile;
mod tls;

use wherry_tests::{Answer, Cluster, Connection, Ports, play, until};

use crate::WHERRY;
use crate::objects::{endpoints_ready, ingress, service, web};

#[test]
fn clients_of_the_ingress() {
    let cluster = Cluster::start(WHERRY).unwrap();
    for guest in ["hello-http", "echo-tcp"] {
        cluster.load_guest(guest).unwrap();
    }
    let echo = "---
apiVersion: v1
kind: Pod
metadata: {name: echo, labels: {app: echo}}
spec:
  containers: [{name: echo, image: 'echo-tcp:v1', ports: [{containerPort: 7000}]}]
";
    let objects = [web("a"), web("b"), web("c"), echo.to_owned(), service("echo", 7000)];
    cluster.apply("default", &objects.concat()).unwrap();
    for name in ["a", "b", "c", "echo"] {
        endpoints_ready(&cluster, "default", name, 1);
    }
    let world = World { ports: cluster.ports().unwrap(), cluster };
    play(&[
        ("rules by host and path", &|| rules(&world)),
        ("failures say what and where", &|| failures(&world)),
        ("guests learn who asks", &|| forwarded(&world)),
        ("upgrades pass through", &|| upgrades(&world)),
        ("certificates by name, changed under way", &|| tls::certificates(&world)),
        ("HTTP/2 by ALPN", &|| tls::http2(&world)),
        ("what never ends is answered or cut", &|| hostile::endless(&world)),
        ("silence is cut", &|| hostile::silent(&world)),
        ("nonsense is answered", &|| hostile::nonsense(&world)),
    ]);
    // It serves all hosts, so it comes last.
    fallback(&world);
}

/// A cluster with the web pods a, b and c and an echo server.
struct World {
    cluster: Cluster,
    ports: Ports,
}

impl World {
    fn get(&self, host: &str, path: &str) -> Answer {
        let mut connection = Connection::open(self.ports.http).unwrap();
        connection.http(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).unwrap()
    }

    /// Applies an ingress and waits until it counts for a host.
    fn apply(&self, host: &str, manifest: &str) {
        self.cluster.apply("default", manifest).unwrap();
        self.counts(host, true);
    }

    fn counts(&self, host: &str, wanted: bool) {
        until("the rules are there", || Ok((wanted == (self.get(host, "/").status != 404)).then_some(()))).unwrap();
    }

    fn delete(&self, ingress: &str) {
        assert!(self.cluster.wherry(&["delete", "ingress", ingress]).unwrap().status.success());
    }
}

fn rules(world: &World) {
    let rules = "
        *.wild.example / Prefix a
        own.wild.example / Prefix b
        own.wild.example /foo Exact c
        own.wild.example /foo Prefix a
        own.wild.example /foo/bar/ Prefix c
        only.example /x Prefix a
        main.example /only Exact a";
    let default = "  defaultBackend: {service: {name: c, port: {number: 80}}}\n";
    world.apply("own.wild.example", &ingress("rules", rules, ""));
    let served = "served.example /x Prefix a";
    world.apply("served.example", &ingress("host-default", served, default));
    let check = |host: &str, path: &str, status: u16, text: &str| {
        let answer = world.get(host, path);
        assert!(answer.status == status && answer.body.contains(text), "{host}{path}: {answer:?}");
    };
    check("some.wild.example", "/", 200, "Hello from a\n");
    check("SOME.Wild.Example:8080", "/p?q=1", 200, "Hello from a at /p?q=1\n");
    check("two.labels.wild.example", "/", 404, "");
    check("wild.example", "/", 404, "");
    check("own.wild.example", "/", 200, "Hello from b\n");
    check("own.wild.example", "/foo", 200, "Hello from c at");
    check("own.wild.example", "/foo?q", 200, "Hello from c at");
    check("own.wild.example", "/foo/", 200, "Hello from a at");
    check("own.wild.example", "/foo/bar", 200, "Hello from c at");
    check("own.wild.example", "/foo/barbaz", 200, "Hello from a at");
    check("own.wild.example", "/foobar", 200, "Hello from b at");
    check("only.example", "/y", 404, "");
    check("main.example", "/only/", 404, "");
    check("served.example", "/x/1", 200, "Hello from a at");
    check("served.example", "/elsewhere", 200, "Hello from c at");
    check("nobody.example", "/", 404, "404 Not Found: no ingress rule matches this host and path\n");
    world.delete("rules");
    world.counts("own.wild.example", false);
}

fn failures(world: &World) {
    let rules = "
        missing.example / Prefix missing
        empty.example / Prefix empty
        deaf.example / Prefix deaf
        text.example / Prefix echo
        trap.example / Prefix a";
    let services = [service("empty", 80), service("deaf", 9).replace("app: deaf", "app: b")];
    world.cluster.apply("default", &services.concat()).unwrap();
    endpoints_ready(&world.cluster, "default", "deaf", 1);
    world.apply("trap.example", &ingress("failures", rules, ""));
    let check = |host: &str, path: &str, text: &str| {
        until(text, || {
            let answer = world.get(host, path);
            // The table may be a moment behind the rules.
            Ok((answer.body == format!("{text}\n") && text.starts_with(&answer.status.to_string())).then_some(()))
        })
        .unwrap();
    };
    check(
        "missing.example",
        "/",
        "503 Service Unavailable: service default/missing does not exist or has no such port",
    );
    check("empty.example", "/", "503 Service Unavailable: service default/empty has no ready endpoint");
    check("deaf.example", "/", "502 Bad Gateway: no endpoint of service default/deaf took the connection");
    check("text.example", "/", "502 Bad Gateway: the endpoint of service default/echo ended before it answered");
    check("trap.example", "/trap", "502 Bad Gateway: the endpoint of service default/a ended before it answered");
    assert_eq!(world.get("trap.example", "/").status, 200, "one request's trap is no other's");
}

fn forwarded(world: &World) {
    world.apply("headers.example", &ingress("headers", "headers.example / Prefix b", ""));
    let request = "GET /headers HTTP/1.1\r\nhost: headers.example:81\r\nx-forwarded-for: 6.6.6.6\r\n\
        x-forwarded-proto: gopher\r\nconnection: keep-alive, x-mine\r\nx-mine: 1\r\nx-kept: 2\r\n\r\n";
    let mut connection = Connection::open(world.ports.http).unwrap();
    for _ in 0..2 {
        let seen = connection.http(request).unwrap().body;
        let port = format!("x-forwarded-port: {}\n", world.ports.http);
        let wanted = [
            "x-forwarded-for: 127.0.0.1\n",
            "x-real-ip: 127.0.0.1\n",
            "x-forwarded-proto: http\n",
            "x-forwarded-host: headers.example:81\n",
            "x-kept: 2\n",
            &port,
        ];
        for line in wanted {
            assert!(seen.contains(line), "wanted {line:?} in {seen:?}");
        }
        for word in ["6.6.6.6", "gopher", "x-mine", "keep-alive"] {
            assert!(!seen.contains(word), "{word:?} got through: {seen:?}");
        }
    }
}

fn upgrades(world: &World) {
    let rules = "
        socket.example / Prefix echo
        module.example / Prefix c";
    world.apply("module.example", &ingress("upgrades", rules, ""));
    let ask = |host: &str| {
        let mut connection = Connection::open(world.ports.http).unwrap();
        let head = format!(
            "GET /chat HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        );
        connection.send(head).unwrap();
        connection
    };
    let mut socket = ask("socket.example");
    let head = socket.head().unwrap().join("\n").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    for word in ["one", "two", "three"] {
        assert_eq!(socket.ask(word).unwrap(), format!("{word} (echo)"));
    }
    // A module that answers requests one by one declines by answering.
    let mut module = ask("module.example");
    let answer = module.answer().unwrap();
    assert!(answer.status == 200 && answer.body.contains("Hello from c at /chat"), "{answer:?}");
}

fn fallback(world: &World) {
    let backend = "  defaultBackend: {service: {name: b, port: {number: 80}}}\n";
    world.apply("nobody.example", &ingress("fallback", "", backend));
    assert_eq!(world.get("nobody.example", "/").body, "Hello from b\n");
    assert_eq!(world.get("headers.example", "/").body, "Hello from b\n");
    assert_eq!(world.get("own.secure.example", "/").body, "Hello from a\n");
    world.delete("fallback");
    world.counts("nobody.example", false);
}
