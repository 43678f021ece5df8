//! TLS at the ingress: which certificate, changed while connections are open, and HTTP/2.

use wherry_base::Clock;
use wherry_pki::Issued;
use wherry_tests::{Connection, https, until};

use super::World;
use crate::objects::ingress;

fn issue(host: &str) -> Issued {
    wherry_pki::self_signed("test", &[host.to_owned()], wherry_base::SystemClock.now()).unwrap()
}

/// A Secret of type TLS, its PEM as text.
fn secret(name: &str, issued: &Issued) -> String {
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}",
        indented(&issued.certificate),
        indented(&issued.key)
    )
}

fn greeted(connection: &mut Connection, host: &str) {
    let answer = connection.http(&format!("GET /headers HTTP/1.1\r\nhost: {host}\r\n\r\n")).unwrap();
    assert!(answer.body.contains("x-forwarded-proto: https\n"), "{answer:?}");
}

pub fn certificates(world: &World) {
    let (old, new, wildcard) = (issue("own.secure.example"), issue("own.secure.example"), issue("*.secure.example"));
    let tls = "  tls:
    - {hosts: [own.secure.example], secretName: own}
    - {secretName: any}
";
    let rules = "
        own.secure.example / Prefix a
        other.secure.example / Prefix a";
    let objects = [secret("own", &old), secret("any", &wildcard), ingress("secure", rules, tls)];
    world.apply("own.secure.example", &objects.concat());
    let port = world.ports.https;
    let connect = |name: &str, issued: &Issued| {
        until("the certificate is there", || Ok(https(port, name, &issued.certificate).ok())).unwrap()
    };
    let mut first = connect("own.secure.example", &old);
    greeted(&mut first, "own.secure.example");
    greeted(&mut connect("other.secure.example", &wildcard), "other.secure.example");
    assert!(https(port, "own.secure.example", &wildcard.certificate).is_err(), "the own one comes first");
    assert!(https(port, "a.b.secure.example", &wildcard.certificate).is_err(), "a wildcard is one label");
    // The Secret changes: new connections see it, an open one goes on.
    world.cluster.apply("default", &secret("own", &new)).unwrap();
    greeted(&mut connect("own.secure.example", &new), "own.secure.example");
    greeted(&mut first, "own.secure.example");
    assert!(https(port, "own.secure.example", &old.certificate).is_err(), "the old one is gone");
}

pub fn http2(world: &World) {
    let issued = issue("two.example");
    let tls = "  tls: [{hosts: [two.example], secretName: two}]\n";
    world.apply("two.example", &[secret("two", &issued), ingress("two", "two.example / Prefix b", tls)].concat());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let paths = ["/", "/sleep/50", "/headers", "/trap", "/one"];
    let ask = || runtime.block_on(wherry_tests::http2(world.ports.https, "two.example", &issued.certificate, &paths));
    let answers = until("the certificate is there", || Ok(ask().ok())).unwrap();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 502, 200]);
    let headers = &answers[2].body;
    let port = format!("x-forwarded-port: {}\n", world.ports.https);
    for line in ["x-forwarded-proto: https\n", "x-forwarded-host: two.example\n", "host: two.example\n", &port] {
        assert!(headers.contains(line), "wanted {line:?} in {headers:?}");
    }
}
