use proptest::prelude::*;

use super::*;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

fn segment(control: TcpControl, ack: Option<i32>, payload: &[u8]) -> Vec<u8> {
    let tcp = TcpRepr {
        src_port: 4000,
        dst_port: 80,
        control,
        seq_number: TcpSeqNumber(100),
        ack_number: ack.map(TcpSeqNumber),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None, None, None],
        timestamp: None,
        payload,
    };
    let header = header(OWN, OTHER, IpProtocol::Tcp, tcp.buffer_len());
    let (from, to) = (OWN.into(), OTHER.into());
    with_header(&header, |body| tcp.emit(&mut TcpPacket::new_unchecked(body), &from, &to, &checksums()))
}

fn changed(mut packet: Vec<u8>, change: impl FnOnce(&mut Ipv4Packet<&mut [u8]>)) -> Vec<u8> {
    change(&mut Ipv4Packet::new_unchecked(&mut packet[..]));
    packet
}

#[test]
fn what_a_container_may_send() {
    let check = |packet: Vec<u8>, expected: Result<&str, Why>| {
        let read = read(&packet, OWN).map(|sent| format!("{sent:?}"));
        assert_eq!(read, expected.map(str::to_owned), "{packet:?}");
    };
    let syn = || segment(TcpControl::Syn, None, b"");
    check(syn(), Ok("Tcp { key: Key { port: 4000, remote: 10.96.0.1:80 }, opens: true }"));
    let data = segment(TcpControl::None, Some(7), b"data");
    check(data, Ok("Tcp { key: Key { port: 4000, remote: 10.96.0.1:80 }, opens: false }"));
    let answer = segment(TcpControl::Syn, Some(7), b"");
    check(answer, Ok("Tcp { key: Key { port: 4000, remote: 10.96.0.1:80 }, opens: false }"));
    let mut udp = vec![0; datagram_length(b"hi")];
    datagram(&mut udp, SocketAddrV4::new(OWN, 9), SocketAddrV4::new(OTHER, 53), b"hi");
    check(udp, Ok("Udp { port: 9, to: 10.96.0.1:53, payload: [104, 105] }"));

    check(changed(syn(), |ip| ip.set_src_addr(OTHER)), Err(Why::Spoofed));
    check(changed(syn(), |ip| ip.set_more_frags(true)), Err(Why::Fragment));
    check(changed(syn(), |ip| ip.set_frag_offset(8)), Err(Why::Fragment));
    check(changed(syn(), |ip| ip.set_version(6)), Err(Why::Malformed));
    check(changed(syn(), |ip| ip.set_total_len(9)), Err(Why::Malformed));
    check(changed(syn(), |ip| ip.set_total_len(999)), Err(Why::Malformed));
    check(changed(syn(), |ip| ip.set_next_header(IpProtocol::Igmp)), Err(Why::Protocol));
    check(Vec::new(), Err(Why::Malformed));
    for nobody in ["10.128.0.2", "127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1"] {
        check(changed(syn(), |ip| ip.set_dst_addr(nobody.parse().unwrap())), Err(Why::Unroutable));
    }
}

#[test]
fn what_a_container_is_told() {
    let check = |packet: &[u8], why: &DialError, expected: Option<&str>| {
        let told = refusal(packet, why).map(|told| {
            let ip = Ipv4Packet::new_checked(&told[..]).unwrap();
            assert!(ip.verify_checksum() && (ip.src_addr(), ip.dst_addr()) == (OTHER, OWN));
            match ip.next_header() {
                IpProtocol::Icmp => {
                    let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
                    assert!(icmp.verify_checksum());
                    format!("{} {}", u8::from(icmp.msg_type()), icmp.msg_code())
                }
                _ => {
                    let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
                    assert!(tcp.rst() && (tcp.src_port(), tcp.dst_port()) == (80, 4000));
                    format!("reset {} {}", tcp.seq_number().0, tcp.ack_number().0)
                }
            }
        });
        assert_eq!(told.as_deref(), expected, "{why}");
    };
    let syn = segment(TcpControl::Syn, None, b"");
    check(&syn, &DialError::Refused, Some("reset 0 101"));
    check(&syn, &DialError::Unreachable, Some("3 1"));
    check(&syn, &DialError::Denied, Some("3 13"));
    check(&segment(TcpControl::None, Some(7), b"data"), &DialError::Refused, Some("reset 7 0"));
    check(&segment(TcpControl::Rst, None, b""), &DialError::Refused, None);
    let mut udp = vec![0; datagram_length(b"hi")];
    datagram(&mut udp, SocketAddrV4::new(OWN, 9), SocketAddrV4::new(OTHER, 53), b"hi");
    check(&udp, &DialError::Refused, Some("3 3"));
}

proptest! {
    #[test]
    fn nothing_that_is_sent_panics(mut packet in prop::collection::vec(any::<u8>(), 0..200), protocol in 0_u8..20, shaped in any::<bool>()) {
        if shaped && packet.len() >= IPV4_HEADER_LEN {
            let length = packet.len() as u16;
            let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
            ip.set_version(4);
            ip.set_header_len(20);
            ip.set_total_len(length);
            ip.set_src_addr(OWN);
            ip.clear_flags();
            ip.set_frag_offset(0);
            ip.set_next_header(protocol.into());
        }
        let _read = read(&packet, OWN);
        for why in [DialError::Refused, DialError::Denied, DialError::Unreachable] {
            let _told = refusal(&packet, &why);
        }
        let _answers = (reset(&packet), echo(&packet));
    }
}
