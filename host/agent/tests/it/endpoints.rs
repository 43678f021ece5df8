//! The kubelet's endpoints over mutual TLS.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::server::TlsStream;
use wherry_agent::server::{OtherNodes, Until, serve};
use wherry_api::Revocations;
use wherry_base::{Clock, SystemClock, Trigger};
use wherry_pki::{Authority, Holder, LiveCertificate, Subject, Validity};
use wherry_runtime::fake::Script;

use crate::world::{World, is_ready};

/// Tells of the nodes whose connections it is handed, and what ends them.
struct Told(mpsc::Sender<(String, Until)>);

impl OtherNodes for Told {
    fn take(&self, node: String, _: TlsStream<TcpStream>, _: OwnedSemaphorePermit, until: Until) {
        assert!(self.0.try_send((node, until)).is_ok());
    }
}

struct Caller {
    authority: Authority,
    port: u16,
}

impl Caller {
    /// A connection of a client of this name and group, over HTTP/2; its certificate's serial number.
    async fn connect(&self, user: &str, group: Option<&str>) -> String {
        let issued = self.authority.issue(&Subject { user, group, names: &[] }, validity()).unwrap();
        let serial = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let serial = Holder::of(&serial).unwrap().serial;
        let issued = LiveCertificate::of(&issued).unwrap();
        let mut config = wherry_pki::client_config(&issued, &self.authority.certificate()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        drop(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap());
        serial
    }

    /// Status and body of a GET by a client of this name and group.
    async fn get(&self, user: &str, group: Option<&str>, path: &str) -> (u16, String) {
        let issued = self.authority.issue(&Subject { user, group, names: &[] }, validity()).unwrap();
        let issued = LiveCertificate::of(&issued).unwrap();
        let config = wherry_pki::client_config(&issued, &self.authority.certificate()).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let request = http::Request::get(path).header("host", "n1").body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = async {
            let answer = sender.send_request(request).await.unwrap();
            let status = answer.status().as_u16();
            (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
        };
        tokio::select! {
            answer = answer => answer,
            _ = connection => panic!("the connection ended"),
        }
    }
}

fn validity() -> Validity {
    Validity::of(SystemClock.now(), Duration::from_secs(3600))
}

#[tokio::test]
async fn logs_pods_and_usage_for_administrators_only() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("talks", Script { output: "one\ntwo\n".into(), ..Script::default() });
    world.create("web", json!({ "containers": [{ "name": "a", "image": "talks" }] })).await;
    world.wait("web", is_ready).await;
    let authority = Authority::generate("test", SystemClock.now()).unwrap();
    let own = Subject { user: "system:node:n1", group: Some("system:nodes"), names: &["127.0.0.1".into()] };
    let own = LiveCertificate::of(&authority.issue(&own, validity()).unwrap()).unwrap();
    let tls = wherry_pki::server_config(&own, &authority.certificate(), false).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let caller = Caller { port: listener.local_addr().unwrap().port(), authority };
    let trigger = Trigger::new();
    let (told, mut taken) = mpsc::channel(4);
    let nodes = Arc::new(Told(told));
    let (revoke, revocations) = watch::channel(Revocations::default());
    let served = serve(listener, Arc::new(tls), world.agent.clone(), nodes, revocations, trigger.drain());
    trigger.drain().spawn(served);
    let admin = Some("system:masters");
    let cases = [
        ("/healthz", 200, "ok"),
        ("/containerLogs/default/web/a", 200, "one\ntwo\n"),
        ("/containerLogs/default/web/a?tailLines=1", 200, "two\n"),
        (
            "/containerLogs/default/web/a?previous=true",
            400,
            "previous terminated container \"a\" in pod \"web\" not found",
        ),
        ("/containerLogs/default/web/b", 400, "container b is not valid for pod web"),
        ("/containerLogs/default/none/a", 404, "pod \"none\" not found\n"),
        ("/nothing", 404, "404: no /nothing here\n"),
    ];
    for (path, status, body) in cases {
        assert_eq!(caller.get("me", admin, path).await, (status, body.to_owned()), "{path}");
    }
    let (_, pods) = caller.get("me", admin, "/pods").await;
    let pods: serde_json::Value = serde_json::from_str(&pods).unwrap();
    assert_eq!(pods["items"][0]["metadata"]["name"], "web");
    let (_, stats) = caller.get("me", admin, "/stats/summary").await;
    assert!(stats.contains("workingSetBytes"), "{stats}");
    assert_eq!(caller.get("system:node:n2", Some("system:nodes"), "/pods").await.0, 403);
    assert_eq!(caller.get("kube-apiserver", None, "/pods").await.0, 200);
    // Those who only call themselves nodes are not taken for such.
    caller.connect("system:node:n3", None).await;
    caller.connect("n4", Some("system:nodes")).await;
    caller.connect("system:node:n2", Some("system:nodes")).await;
    let mut next = async || taken.recv().await.unwrap();
    let (node, until_n2) = next().await;
    assert_eq!(node, "n2");
    // Nor those whose certificate is revoked: the next one that is taken is another.
    let revoked = |what: &str| Revocations::of(&serde_json::from_value(json!({ "data": { "lost": what } })).unwrap());
    revoke.send_replace(revoked("system:node:n2"));
    until_n2.await;
    caller.connect("system:node:n2", Some("system:nodes")).await;
    let serial = caller.connect("system:node:n3", Some("system:nodes")).await;
    let (node, mut until_n3) = next().await;
    assert_eq!(node, "n3");
    // A connection that is there ends with the serial number of its certificate.
    assert!(futures::poll!(&mut until_n3).is_pending());
    revoke.send_replace(revoked(&serial));
    until_n3.await;
    world.shut_down().await;
}
