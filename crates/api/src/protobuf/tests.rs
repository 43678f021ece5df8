//! Bodies built by hand, field by field, and the JSON that they stand for; and random bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::{any, prop};
use proptest::proptest;
use serde_json::{Value, json};

use super::to_json;

/// A length-delimited field.
fn bytes(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = payload.len();
    while length >= 0x80 {
        field.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).unwrap());
    field.extend_from_slice(payload);
    field
}

fn int(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), bytes(1, &type_meta), bytes(2, raw), bytes(3, b""), bytes(4, b"")].concat()
}

fn check(api_version: &str, kind: &str, raw: &[Vec<u8>], expected: Value) {
    let mut whole = json!({"apiVersion": api_version, "kind": kind});
    let Value::Object(expected) = expected else { panic!("an object") };
    whole.as_object_mut().unwrap().extend(expected);
    assert_eq!(to_json(&body(api_version, kind, &raw.concat())), Ok(whole));
}

#[test]
fn a_namespace_as_go_writes_it_has_no_empty_parts() {
    let empty = |number| bytes(number, b"");
    let zero_time = bytes(8, b"");
    let meta = [bytes(1, b"x"), empty(2), empty(3), empty(4), empty(5), empty(6), int(7, 0), zero_time].concat();
    let raw = [bytes(1, &meta), bytes(2, b""), bytes(3, &bytes(1, b""))];
    check("v1", "Namespace", &raw, json!({"metadata": {"name": "x"}}));
}

#[test]
fn pointers_keep_their_zeros_and_plain_values_lose_them() {
    let port = [bytes(1, b""), int(2, 0), [vec![3 << 3], vec![80]].concat(), bytes(4, b"TCP"), bytes(5, b"")].concat();
    let limits = bytes(1, &[bytes(1, b"cpu"), bytes(2, &bytes(1, b"100m"))].concat());
    let container = [bytes(1, b"c"), bytes(2, b"i"), bytes(4, b""), bytes(6, &port), bytes(8, &limits)].concat();
    let empty_dir = [bytes(1, b"v"), bytes(2, &bytes(2, b""))].concat();
    let template = bytes(2, &[bytes(1, &empty_dir), bytes(2, &container), int(4, 0)].concat());
    let surge = bytes(2, &[int(1, 1), int(2, 0), bytes(3, b"25%")].concat());
    let unavailable = bytes(1, &[int(1, 0), int(2, 0), bytes(3, b"")].concat());
    let strategy = [bytes(1, b""), bytes(2, &[unavailable, surge].concat())].concat();
    let spec = [int(1, 0), bytes(3, &template), bytes(4, &strategy), int(5, 0), int(7, 0)].concat();
    let expected = json!({"spec": {
        "replicas": 0,
        "template": {"spec": {
            "containers": [{"name": "c", "image": "i", "args": [""], "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "100m"}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 0,
        }},
        "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
    }});
    check("apps/v1", "Deployment", &[bytes(1, b""), bytes(2, &spec)], expected);
}

#[test]
fn special_types_have_their_json_form() {
    let entry = [bytes(1, b"k"), bytes(2, b"\xff\x00")].concat();
    check("v1", "Secret", &[bytes(2, &entry), bytes(3, b"Opaque")], json!({"data": {"k": "/wA="}, "type": "Opaque"}));
    let renew = bytes(4, &[int(1, 1), vec![2 << 3, 0xc0, 0x84, 0x3d]].concat());
    let spec = [bytes(1, b"h"), int(2, 15), renew].concat();
    let lease = json!({"spec": {"holderIdentity": "h", "leaseDurationSeconds": 15, "renewTime": "1970-01-01T00:00:01.001000Z"}});
    check("coordination.k8s.io/v1", "Lease", &[bytes(2, &spec)], lease);
    check(
        "v1",
        "DeleteOptions",
        &[int(1, 0), bytes(4, b"Background")],
        json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"}),
    );
}

/// What kubectl 1.32 sends for `kubectl create deployment web --image=nginx --replicas=0 --port=80`.
const FROM_KUBECTL: &str = "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErgBCh8KA3dlYhIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEoYBCAASDAoKCgNhcHASA3dlYhps\
    ChwKABIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEkwSLgoFbmdpbngSBW5naW54KgAyCgoAEAAYUCIAKgBCAGoAcgCAAQCIAQCQAQCiAQAa\
    ADIAQgBKAFIAWABgAGgAggEAigEAmgEAwgEAIgIKACgAOAAaDAgAEAAYACAAKAA4ABoAIgA=";

#[test]
fn a_deployment_from_kubectl() {
    let labels = json!({"labels": {"app": "web"}});
    let container = json!({"name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}]});
    let expected = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": labels, "spec": {"containers": [container]}},
        },
    });
    assert_eq!(to_json(&STANDARD.decode(FROM_KUBECTL).unwrap()), Ok(expected));
}

#[test]
fn what_is_not_protobuf_says_why() {
    let cases: &[(Vec<u8>, &str)] = &[
        (b"{}".to_vec(), "begin with"),
        (b"k8s\0\x0a\x7f".to_vec(), "cut short"),
        (body("v1", "Nothing", b""), "no kind"),
        (body("v1", "Pod", &bytes(1, &bytes(1, b"\xff"))), "UTF-8"),
        (body("v1", "Pod", &int(1, 1)), "wire type"),
    ];
    for (body, expected) in cases {
        let error = to_json(body).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn hostile_bytes_do_not_panic(raw in prop::collection::vec(any::<u8>(), 0..300), kind in prop::sample::select(vec!["Pod", "Node", "Event", "Service"])) {
        let _ = to_json(&body("v1", kind, &raw));
        let _ = to_json(&[b"k8s\0".to_vec(), raw].concat());
    }
}
