use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn encoded(what: What<'_>) -> BytesMut {
    let mut buffer = BytesMut::new();
    Frame { exchange: 300, what }.encode(&mut buffer).unwrap();
    buffer
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> request::Parts {
    let (mut head, ()) = Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
    head.headers = all(headers);
    head
}

fn response(status: u16, headers: &[(&str, &str)]) -> response::Parts {
    let (mut head, ()) = Response::builder().status(status).body(()).unwrap().into_parts();
    head.headers = all(headers);
    head
}

fn all(headers: &[(&str, &str)]) -> HeaderMap {
    let mut all = HeaderMap::new();
    headers.iter().for_each(|(name, value)| {
        all.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    });
    all
}

fn shown(what: &What<'_>) -> String {
    match what {
        What::Request { to, head, piece } => {
            format!("{to} {} {} {:?} {piece:?}", head.method, head.uri, head.headers)
        }
        What::Response { head, piece } => format!("{} {:?} {piece:?}", head.status, head.headers),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let to = "10.128.0.7:8080".parse().unwrap();
    let check = |what: What<'_>, expected: Expect| {
        let before = shown(&what);
        let mut bytes = encoded(what);
        for short in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..short]).unwrap().is_none(), "{short} bytes of {}", bytes.len());
        }
        bytes.put_u8(1);
        let (frame, length) = Frame::decode(&bytes).unwrap().unwrap();
        assert_eq!((frame.exchange, length, shown(&frame.what)), (300, bytes.len() - 1, before.clone()));
        expected.assert_eq(&before);
    };
    let head = request("POST", "/p?q=1", &[("host", "web.example"), ("x-a", "1"), ("x-a", "2")]);
    let head = Cow::Borrowed(&head);
    let piece = Piece { bytes: b"body", is_last: true };
    check(
        What::Request { to, head, piece },
        expect![[
            r#"10.128.0.7:8080 POST /p?q=1 {"host": "web.example", "x-a": "1", "x-a": "2"} Piece { bytes: [98, 111, 100, 121], is_last: true }"#
        ]],
    );
    let none = Piece { bytes: b"", is_last: false };
    let head = request("OPTIONS", "*", &[]);
    check(
        What::Request { to, head: Cow::Borrowed(&head), piece: none },
        expect!["10.128.0.7:8080 OPTIONS * {} Piece { bytes: [], is_last: false }"],
    );
    let head = response(204, &[("x-long", "\u{e4}!")]);
    check(
        What::Response { head: Cow::Borrowed(&head), piece: none },
        expect![[r#"204 No Content {"x-long": "\xc3\xa4!"} Piece { bytes: [], is_last: false }"#]],
    );
    check(What::Trailers(response(200, &[("x-sum", "7")]).headers), expect![[r#"Trailers({"x-sum": "7"})"#]]);
    check(What::Data(piece), expect!["Data(Piece { bytes: [98, 111, 100, 121], is_last: true })"]);
    check(What::Credit(u32::MAX), expect!["Credit(4294967295)"]);
    check(What::Refused, expect!["Refused"]);
}

#[test]
fn a_frame_that_would_be_too_long_is_none() {
    let value = "v".repeat(FRAME_BYTES_MAX);
    let head = response(200, &[("x-long", &value)]);
    let mut buffer = BytesMut::from(&b"before"[..]);
    let piece = Piece { bytes: b"", is_last: true };
    let frame = Frame { exchange: 1, what: What::Response { head: Cow::Borrowed(&head), piece } };
    assert!(matches!(frame.encode(&mut buffer), Err(FrameError::TooLong(_))));
    assert_eq!(buffer, "before");
}

/// What a hostile end may send instead of a head.
#[test]
fn heads_are_checked() {
    let check = |method: &str, target: &str, headers: &[(&str, &[u8])], expected: bool| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, Octets(value))).collect();
        let to: SocketAddr = "10.128.0.7:8080".parse().unwrap();
        // Exchange 1, the first variant of `What`.
        let frame = postcard::to_stdvec(&(1_u64, 0_u32, to, (method, target, &headers), (Octets(b""), true))).unwrap();
        let bytes = [&u32::try_from(frame.len()).unwrap().to_le_bytes()[..], &frame].concat();
        assert_eq!(Frame::decode(&bytes).is_ok(), expected, "{method} {target} {} headers", headers.len());
    };
    check("GET", "/", &[("host", b"x")], true);
    check("GET", "/", &[("Host", b"x")], true);
    check("GET", "/", &[("host", b"x\r\ny: z")], false);
    check("GET", "/", &[("ho st", b"x")], false);
    check("GET", "/", &[("", b"x")], false);
    check("GET", "/ HTTP/1.1\r\nx: y", &[], false);
    check("GE T", "/", &[], false);
    check("GET", "/", &[("x", &b"y"[..]); HEADERS_MAX], true);
    check("GET", "/", &[("x", &b"y"[..]); HEADERS_MAX + 1], false);
    let many: Vec<String> = (0..40_000).map(|number| number.to_string()).collect();
    let many: Vec<(&str, &[u8])> = many.iter().take(20_000).map(|name| (name.as_str(), &b""[..])).collect();
    check("GET", "/", &many, false);
}

proptest! {
    #[test]
    fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..64), length in 0_u8..64) {
        let framed = [&[length, 0, 0, 0][..], &bytes].concat();
        if let Ok(Some((_, taken))) = Frame::decode(&framed) {
            prop_assert_eq!(taken, usize::from(length) + LENGTH_BYTES);
        }
    }
}
