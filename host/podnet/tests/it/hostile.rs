//! What a container sends that may make packets of its own.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use wherry_podnet::Why;

use crate::world::{DNS, PLAIN, World, at};
use crate::{echo, exchange};

const SYN: u8 = 2;

/// A segment without data; the kernel fills in what of the header it must.
fn segment(from: &str, to: &str, port: u16, to_port: u16, flags: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    packet.extend(from.parse::<Ipv4Addr>().unwrap().octets());
    packet.extend(to.parse::<Ipv4Addr>().unwrap().octets());
    packet.extend(port.to_be_bytes());
    packet.extend(to_port.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

/// Whether the pod's network serves its containers still.
async fn is_well(world: &World) -> bool {
    let mut listener = world.plain.listen(at("0.0.0.0", 8080)).unwrap();
    let client = async { exchange(world.containers.connect(at(PLAIN, 8080)).await?, "well").await };
    let server = async { echo(listener.accept().await.unwrap()).await };
    tokio::join!(client, server).0.is_ok_and(|heard| heard == "well")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_sent_is_dropped_and_counted() {
    let Some(world) = World::new() else { return };
    let spoofed = segment("10.128.0.9", PLAIN, 1000, 8080, SYN);
    let mut fragment = segment("10.128.0.2", PLAIN, 1000, 8080, SYN);
    fragment[6] = 0x20;
    let mut other = segment("10.128.0.2", PLAIN, 1000, 8080, SYN);
    other[9] = 132;
    let mut short = segment("10.128.0.2", PLAIN, 1000, 8080, SYN);
    short[32] = 0xf0;
    world.containers.send_raw(vec![spoofed, fragment, other, short]);
    assert!(is_well(&world).await);
    for why in [Why::Spoofed, Why::Fragment, Why::Protocol, Why::Malformed] {
        assert!(world.net.dropped(why) >= 1, "{why:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_is_bounded_and_passes() {
    let Some(world) = World::new() else { return };
    // To a pod that accepts none of them, and to a resolver that serves few.
    let listener = world.plain.listen(at("0.0.0.0", 80)).unwrap();
    for to in [(PLAIN, 80), (DNS, 53)] {
        let syns = (1000..20_000).map(|port| segment("10.128.0.2", to.0, port, to.1, SYN));
        world.containers.send_raw(syns.collect());
    }
    drop(listener);
    assert!(is_well(&world).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_packet_breaks_the_pods_network() {
    let Some(world) = World::new() else { return };
    let _listener = world.plain.listen(at("0.0.0.0", 80)).unwrap();
    let mut runner = TestRunner::deterministic();
    // Segments of few connections, so that they meet, with flags, numbers, options and data at random.
    let random = (1000_u16..1004, prop::collection::vec(any::<u8>(), 16..120), any::<u8>());
    let packets = (0..5000).map(|_| {
        let (port, body, protocol) = random.new_tree(&mut runner).unwrap().current();
        let mut packet = segment("10.128.0.2", PLAIN, port, 80, body[0] & 0x3f);
        packet[24..32].copy_from_slice(&body[1..9]);
        packet[32] = body[9] & 0xf0;
        packet.extend(&body[10..]);
        if protocol < 32 {
            packet[9] = [17, 1, 2, protocol][usize::from(protocol % 4)];
        }
        packet
    });
    world.containers.send_raw(packets.collect());
    assert!(is_well(&world).await);
}
