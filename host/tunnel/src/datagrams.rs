//! Datagrams between two nodes: framed on one stream a direction, bounded, dropped when that does not keep up.
//!
//! A frame is the payload's length (2 bytes), the sender's and the receiver's address and port (16 and 2 bytes each, IPv4
//! as IPv6 maps it), and the payload; numbers are big-endian.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wherry_vnet::Network;

use crate::ask::Ask;
use crate::health::Counting;
use crate::link::Open;
use crate::peer::Peer;
use crate::pump::{Broken, send_all};

/// How many datagrams wait to be sent to a peer.
pub(crate) const WAITING_MAX: usize = 256;
/// Datagrams that wait are sent together, up to so many bytes and one.
const BATCH_BYTES: usize = 16 * 1024;
/// How long a stream is kept after its last datagram.
const IDLE_MOST: Duration = Duration::from_secs(30);

const HEAD_BYTES: usize = 2 + 2 * ADDRESS_BYTES;
const ADDRESS_BYTES: usize = 16 + 2;
/// The largest payload of a datagram over IPv4.
const PAYLOAD_BYTES_MAX: usize = 65_507;

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Bytes,
}

/// Sends what waits, until nothing has for long or the stream breaks.
pub(crate) async fn send(peer: Arc<Peer>, mut waiting: mpsc::Receiver<Datagram>) {
    let Ok(Open { mut send, receive: _receive, counting: _counting }) = peer.open(Ask::Datagrams).await else { return };
    while let Ok(Some(first)) = timeout(IDLE_MOST, waiting.recv()).await {
        let mut batch = BytesMut::new();
        let mut next = Some(first);
        while let Some(datagram) = next {
            datagram.encode(&mut batch);
            next = if batch.len() < BATCH_BYTES { waiting.try_recv().ok() } else { None };
        }
        if send_all(&mut send, batch.freeze()).await.is_err() {
            return;
        }
    }
    let _broken_already = send.send_data(Bytes::new(), true);
}

/// Delivers what a peer sends, as far as it is from that peer's own pods.
pub(crate) async fn receive(
    peer: Arc<Peer>,
    network: Arc<Network>,
    mut send: SendStream<Bytes>,
    mut receive: RecvStream,
    _counting: Counting,
) {
    if deliver_all(&peer, &network, &mut receive).await.is_err() {
        send.send_reset(Reason::CANCEL);
    } else {
        let _broken_already = send.send_data(Bytes::new(), true);
    }
}

async fn deliver_all(peer: &Peer, network: &Network, receive: &mut RecvStream) -> Result<(), Broken> {
    let mut buffer = BytesMut::new();
    while let Some(bytes) = receive.data().await {
        let bytes = bytes.map_err(|_| Broken)?;
        buffer.extend_from_slice(&bytes);
        while let Some(Datagram { from, to, payload }) = Datagram::decode(&mut buffer)? {
            if peer.has(from.ip()) {
                network.receive(from, to, payload);
            }
        }
        receive.flow_control().release_capacity(bytes.len()).map_err(|_| Broken)?;
    }
    Ok(())
}

impl Datagram {
    fn encode(&self, into: &mut BytesMut) {
        // Sockets take no larger ones.
        let Ok(length) = u16::try_from(self.payload.len()) else { return };
        into.reserve(HEAD_BYTES + self.payload.len());
        into.put_u16(length);
        put_address(into, self.from);
        put_address(into, self.to);
        into.put_slice(&self.payload);
    }

    /// The first datagram, once it is whole.
    fn decode(from: &mut BytesMut) -> Result<Option<Self>, Broken> {
        let Some(mut head) = from.get(..HEAD_BYTES) else { return Ok(None) };
        let length = usize::from(head.get_u16());
        if length > PAYLOAD_BYTES_MAX {
            return Err(Broken);
        }
        let (sender, receiver) = (get_address(&mut head), get_address(&mut head));
        if from.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        from.advance(HEAD_BYTES);
        Ok(Some(Self { from: sender, to: receiver, payload: from.split_to(length).freeze() }))
    }
}

fn put_address(into: &mut BytesMut, address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    into.put_u128(ip.to_bits());
    into.put_u16(address.port());
}

fn get_address(head: &mut &[u8]) -> SocketAddr {
    let ip = Ipv6Addr::from_bits(head.get_u128());
    SocketAddr::new(IpAddr::V6(ip).to_canonical(), head.get_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(payload: usize) -> Datagram {
        let (from, to) = ("10.128.0.2:5000".parse().unwrap(), "[fd00::2]:53".parse().unwrap());
        Datagram { from, to, payload: vec![7; payload].into() }
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let sent = [datagram(0), datagram(1), datagram(PAYLOAD_BYTES_MAX)];
        let mut wire = BytesMut::new();
        sent.iter().for_each(|datagram| datagram.encode(&mut wire));
        for size in [1, 37, 4096, wire.len()] {
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(size) {
                buffer.extend_from_slice(piece);
                while let Some(datagram) = Datagram::decode(&mut buffer).unwrap() {
                    got.push(datagram);
                }
            }
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn a_frame_longer_than_any_datagram_is_refused() {
        let mut wire = BytesMut::from(&[0xff; HEAD_BYTES][..]);
        assert_eq!(Datagram::decode(&mut wire), Err(Broken));
    }
}
