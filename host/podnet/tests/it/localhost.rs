//! One localhost and one space of ports for the modules and containers of a pod.

use std::io::ErrorKind;

use wherry_vnet::{BindError, DialError};

use crate::world::{MIXED, World, at};
use crate::{echo, exchange};

#[tokio::test(flavor = "multi_thread")]
async fn containers_reach_modules_at_localhost_and_the_pods_address() {
    let Some(world) = World::new() else { return };
    let mut listener = world.mixed.listen(at("0.0.0.0", 80)).unwrap();
    for ip in ["127.0.0.1", MIXED] {
        let client = async { exchange(world.containers.connect(at(ip, 80)).await.unwrap(), ip).await.unwrap() };
        let server = async {
            let stream = listener.accept().await.unwrap();
            assert_eq!((stream.local, stream.peer.ip()), (at(ip, 80), at(ip, 0).ip()));
            echo(stream).await;
        };
        assert_eq!(tokio::join!(client, server).0, ip);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_reach_containers_at_localhost_and_the_pods_address() {
    let Some(world) = World::new() else { return };
    let listener = world.containers.listen("0.0.0.0:5432");
    for ip in ["127.0.0.1", MIXED] {
        let client = async { exchange(world.mixed.connect(at(ip, 5432)).await.unwrap(), ip).await.unwrap() };
        let server = async {
            let (stream, from) = listener.accept().await.unwrap();
            assert_eq!(from.ip(), at(ip, 0).ip());
            echo(stream).await;
        };
        assert_eq!(tokio::join!(client, server).0, ip);
    }
    assert!(matches!(world.mixed.connect(at("127.0.0.1", 1)).await, Err(DialError::Refused)));
    assert!(matches!(world.plain.connect(at("127.0.0.1", 5432)).await, Err(DialError::Refused)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_one_port_for_modules_and_containers() {
    let Some(world) = World::new() else { return };
    let refused = |on: &'static str| world.containers.try_listen(on).unwrap_err().kind();
    let module = world.mixed.listen(at("0.0.0.0", 80)).unwrap();
    assert_eq!(refused("0.0.0.0:80"), ErrorKind::AddrInUse);
    assert_eq!(refused("127.0.0.1:80"), ErrorKind::AddrInUse);
    assert_eq!(refused("10.128.0.2:80"), ErrorKind::AddrInUse);
    drop(module);
    let container = world.containers.listen("127.0.0.1:80");
    assert_eq!(world.mixed.listen(at("0.0.0.0", 80)).map(drop), Err(BindError::InUse));
    assert_eq!(world.mixed.listen(at("127.0.0.1", 80)).map(drop), Err(BindError::InUse));
    assert!(world.mixed.listen(at(MIXED, 80)).is_ok());
    assert!(world.plain.listen(at("0.0.0.0", 80)).is_ok());
    drop(container);
    assert!(world.mixed.listen(at("0.0.0.0", 80)).is_ok());

    let module = world.mixed.bind_udp(at("0.0.0.0", 53)).unwrap();
    assert_eq!(world.containers.udp("127.0.0.1:53").unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(module);
    let _container = world.containers.udp("0.0.0.0:53").unwrap();
    assert_eq!(world.mixed.bind_udp(at("127.0.0.1", 53)).map(drop), Err(BindError::InUse));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_can_be_taken_again_and_again() {
    let Some(world) = World::new() else { return };
    for _ in 0..50 {
        let mut listener = world.mixed.listen(at("0.0.0.0", 80)).unwrap();
        let client = world.containers.connect(at("127.0.0.1", 80)).await.unwrap();
        let server = listener.accept().await.unwrap();
        drop((client, server, listener));
        drop(world.containers.listen("0.0.0.0:80"));
    }
}
