//! A node that masters cannot connect to: what a master may ask of it, over a connection that it has made.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use wherry_api::routes::{MASTER_NAME, OFFER, RELAY, RELAY_TO};
use wherry_base::Trigger;
use wherry_pki::{Authority, LiveCertificate, Subject, Validity};

use crate::world::{B, World, now};

/// Where nodes make connections for a master; not everybody who listens there is one.
struct Master {
    listener: TcpListener,
    tls: TlsAcceptor,
    tasks: Trigger,
}

impl Master {
    async fn named(name: &str, authority: &Authority) -> Self {
        let subject = Subject { user: "system:master:m", group: None, names: &[name.to_owned()] };
        let issued = authority.issue(&subject, Validity::of(now(), std::time::Duration::from_secs(3600))).unwrap();
        let own = LiveCertificate::of(&issued).unwrap();
        let mut tls = wherry_pki::server_config(&own, &authority.certificate(), true).unwrap();
        tls.alpn_protocols.push(OFFER.to_vec());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, tls: TlsAcceptor::from(Arc::new(tls)), tasks: Trigger::new() }
    }

    fn at(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection of a node that believes this one to be a master.
    async fn offered(&self) -> Option<SendRequest<Bytes>> {
        let (stream, _) = self.listener.accept().await.unwrap();
        let stream = self.tls.accept(stream).await.ok()?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(OFFER));
        let (requests, connection) = h2::client::handshake(stream).await.ok()?;
        self.tasks.drain().spawn(async move { drop(connection.await) });
        requests.ready().await.ok()
    }
}

async fn ask(requests: &SendRequest<Bytes>, to: &str, header: (&str, &str)) -> (u16, impl Sized + use<>) {
    let request = Request::builder().method(Method::CONNECT).uri(to).header(header.0, header.1).body(()).unwrap();
    let (response, send) = requests.clone().ready().await.unwrap().send_request(request, false).unwrap();
    let response = response.await.unwrap();
    (response.status().as_u16(), (send, response.into_body()))
}

#[tokio::test]
async fn a_master_is_given_the_nodes_own_endpoints_and_nothing_else() {
    let world = World::with_hidden(&[B]).await;
    let (_server, _listener, pod) = world.server();
    let master = Master::named(MASTER_NAME, &world.authority).await;
    let (told, masters) = watch::channel(vec![master.at()]);
    world.nodes[B].server.offer_to_masters(masters);
    let requests = master.offered().await.unwrap();
    let before = world.nodes[B].accepted.load(Ordering::Relaxed);
    let (status, open) = ask(&requests, RELAY, (RELAY_TO, "b")).await;
    assert_eq!(status, 200);
    while world.nodes[B].accepted.load(Ordering::Relaxed) == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&requests, RELAY, (RELAY_TO, "c")).await.0, 404, "another node");
    assert_eq!(ask(&requests, &pod.to_string(), ("wherry-client", "10.128.0.2:40000")).await.0, 403, "a pod");
    // Broken, it comes again; and ends where there is no such master any more.
    drop((open, requests));
    let mut requests = master.offered().await.unwrap();
    told.send(Vec::new()).unwrap();
    std::future::poll_fn(|context| requests.poll_ready(context)).await.unwrap_or_default();
    while requests.clone().ready().await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_is_no_master_is_offered_nothing() {
    let world = World::with_hidden(&[B]).await;
    let (other, foreign) = (Master::named("a", &world.authority).await, Authority::generate("foreign", now()).unwrap());
    let foreign = Master::named(MASTER_NAME, &foreign).await;
    let (_told, masters) = watch::channel(vec![other.at(), foreign.at()]);
    world.nodes[B].server.offer_to_masters(masters);
    assert!(other.offered().await.is_none() && foreign.offered().await.is_none());
}
