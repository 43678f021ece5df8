//! The end of a pod's network, and of the process that has it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_vnet::DialError;

use crate::world::{MIXED, PLAIN, World, at};
use crate::{echo, exchange};

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pod_has_nothing_left() {
    let Some(world) = World::new() else { return };
    let mut listener = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    let _inner = world.containers.listen("0.0.0.0:8081");
    let _container = world.containers.connect(at(PLAIN, 8080)).await.unwrap();
    let mut pod = listener.accept().await.unwrap();
    let mut inward = world.plain.connect(at(MIXED, 8081)).await.unwrap();
    let _module = world.mixed.listen(at("0.0.0.0", 80)).unwrap();
    let _udp = world.containers.udp("0.0.0.0:0").unwrap().send_to(b"x", at(PLAIN, 9)).await.unwrap();
    world.mixed.close();
    assert_eq!(world.closed.load(Ordering::SeqCst), 1);
    assert!(pod.read(&mut [0; 1]).await.is_err());
    assert!(inward.read(&mut [0; 1]).await.is_err());
    assert!(matches!(world.plain.connect(at(MIXED, 8081)).await, Err(DialError::Unreachable)));
    drop(world.containers.listen("0.0.0.0:80"));
    world.mixed.close();
    assert_eq!(world.closed.load(Ordering::SeqCst), 1);
    let net = Arc::downgrade(&world.net);
    assert!(world.stop().await);
    assert!(net.upgrade().is_none(), "somebody keeps the network of a pod that is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_of_the_node_goes_on() {
    let Some(world) = World::new() else { return };
    let inner = world.containers.listen("10.128.0.2:8081");
    let _before = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    let mut broken = world.containers.connect(at(PLAIN, 8080)).await.unwrap();
    let world = world.reopen().await;
    // What the container has open is reset as soon as it says something, if not before: nobody knows of it any more.
    let said = async {
        broken.write_all(b"x").await?;
        broken.read(&mut [0; 1]).await
    };
    assert!(said.await.is_err());
    let inward = async { exchange(world.plain.connect(at(MIXED, 8081)).await.unwrap(), "in").await.unwrap() };
    let server = async { echo(inner.accept().await.unwrap().0).await };
    assert_eq!(tokio::join!(inward, server).0, "in");
    let mut listener = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    let outward = async { exchange(world.containers.connect(at(PLAIN, 8080)).await.unwrap(), "out").await.unwrap() };
    let server = async { echo(listener.accept().await.unwrap()).await };
    assert_eq!(tokio::join!(outward, server).0, "out");
}
