//! The containers' resolver.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{DNS, World, at};

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

/// What an answer says: its code, its addresses, and whether that is not all.
fn said(answer: &[u8]) -> (ResponseCode, Vec<Ipv4Addr>, bool) {
    let answer = Message::from_vec(answer).unwrap();
    assert_eq!((answer.id, answer.message_type), (7, MessageType::Response));
    let address = |data: &RData| match data {
        RData::A(address) => address.0,
        other => panic!("{other}"),
    };
    let addresses = answer.answers.iter().map(|record| address(&record.data)).collect();
    (answer.response_code, addresses, answer.truncation)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_what_they_are_to_the_pod() {
    let Some(world) = World::new() else { return };
    let socket = world.containers.udp("0.0.0.0:0").unwrap();
    let check = async |name: &str, kind: RecordType, code: ResponseCode, addresses: &[&str]| {
        socket.send_to(&question(name, kind), at(DNS, 53)).await.unwrap();
        let mut buffer = [0; 512];
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(from, at(DNS, 53));
        let addresses: Vec<Ipv4Addr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        assert_eq!(said(&buffer[..length]), (code, addresses, false), "{name} {kind}");
    };
    check("web.default.svc.cluster.local.", RecordType::A, ResponseCode::NoError, &["10.96.0.20"]).await;
    check("web.default.svc.cluster.local.", RecordType::AAAA, ResponseCode::NoError, &[]).await;
    check("web.default.svc.cluster.local.", RecordType::TXT, ResponseCode::NoError, &[]).await;
    check("none.default.svc.cluster.local.", RecordType::A, ResponseCode::NXDomain, &[]).await;
    check("example.com.", RecordType::A, ResponseCode::NXDomain, &[]).await;
    check("mixed.", RecordType::A, ResponseCode::NoError, &["10.128.0.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_long_is_asked_for_over_a_connection() {
    let Some(world) = World::new() else { return };
    let many = question("many.default.svc.cluster.local.", RecordType::A);
    let socket = world.containers.udp("0.0.0.0:0").unwrap();
    socket.send_to(&many, at(DNS, 53)).await.unwrap();
    let mut buffer = [0; 512];
    let (length, _) = socket.recv_from(&mut buffer).await.unwrap();
    assert!(said(&buffer[..length]).2);

    let mut stream = world.containers.connect(at(DNS, 53)).await.unwrap();
    for _ in 0..2 {
        stream.write_u16(many.len() as u16).await.unwrap();
        stream.write_all(&many).await.unwrap();
        let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        let (code, addresses, is_part) = said(&answer);
        assert_eq!((code, addresses.len(), is_part), (ResponseCode::NoError, 100, false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_gets_no_answer() {
    let Some(world) = World::new() else { return };
    let socket = world.containers.udp("0.0.0.0:0").unwrap();
    let asked = question("web.default.svc.cluster.local.", RecordType::A);
    let mut answer = asked.clone();
    answer[2] |= 0x80;
    for junk in [&b""[..], b"x", &[0xff; 600], &[0; 2000], &answer] {
        socket.send_to(junk, at(DNS, 53)).await.unwrap();
    }
    socket.send_to(&asked, at(DNS, 53)).await.unwrap();
    let mut buffer = [0; 512];
    let (length, _) = socket.recv_from(&mut buffer).await.unwrap();
    assert_eq!(said(&buffer[..length]).0, ResponseCode::NoError);
}
