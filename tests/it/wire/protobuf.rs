//! Bodies in protobuf, as client-go writes them, of several kinds.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{JSON, World};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What kubectl 1.32 sends for `kubectl create deployment web --image=nginx --replicas=0 --port=80`.
const DEPLOYMENT: &str = "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErgBCh8KA3dlYhIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEoYBCAASDAoKCgNhcHASA3dlYhps\
    ChwKABIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEkwSLgoFbmdpbngSBW5naW54KgAyCgoAEAAYUCIAKgBCAGoAcgCAAQCIAQCQAQCiAQAa\
    ADIAQgBKAFIAWABgAGgAggEAigEAmgEAwgEAIgIKACgAOAAaDAgAEAAYACAAKAA4ABoAIgA=";

/// A length-delimited field; no test's is longer than 127 bytes.
fn bytes(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 0x80);
    // Numbers from 16 on take a second byte.
    let tag = if number < 16 { vec![number << 3 | 2] } else { vec![number << 3 | 0x82, number >> 4] };
    [tag, vec![length], payload.to_vec()].concat()
}

fn text(number: u8, text: &str) -> Vec<u8> {
    bytes(number, text.as_bytes())
}

fn int(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn envelope(api_version: &str, kind: &str, raw: &[Vec<u8>]) -> Vec<u8> {
    let type_meta = [text(1, api_version), text(2, kind)].concat();
    [b"k8s\0".to_vec(), bytes(1, &type_meta), bytes(2, &raw.concat()), text(3, ""), text(4, "")].concat()
}

fn meta(name: &str) -> Vec<u8> {
    bytes(1, &[text(1, name), text(2, ""), text(3, ""), int(7, 0)].concat())
}

pub fn bodies(world: &World) {
    let check = |path: &str, body: Vec<u8>, pointer: &str, expected: Value| {
        let told = world.send("POST", path, &format!("{PROTOBUF},{JSON}"), PROTOBUF, body).expect(201);
        assert_eq!(told.body.pointer(pointer), Some(&expected), "{path}: {}", told.body);
        assert_eq!(told.content_type, JSON);
    };
    check("/api/v1/namespaces", envelope("v1", "Namespace", &[meta("proto")]), "/status/phase", json!("Active"));
    let core = "/api/v1/namespaces/proto";
    let data = bytes(2, &[text(1, "k"), text(2, "value")].concat());
    let map = envelope("v1", "ConfigMap", &[meta("a"), data]);
    check(&format!("{core}/configmaps"), map, "/data/k", json!("value"));
    let data = bytes(2, &[text(1, "k"), bytes(2, b"\xff\0")].concat());
    let secret = envelope("v1", "Secret", &[meta("a"), data, text(3, "Opaque")]);
    check(&format!("{core}/secrets"), secret, "/data/k", json!("/wA="));
    let target = bytes(4, &[int(1, 1), int(2, 0), text(3, "http")].concat());
    let port = bytes(1, &[text(1, ""), text(2, "TCP"), int(3, 80), target, int(5, 0)].concat());
    let selector = bytes(2, &[text(1, "app"), text(2, "web")].concat());
    let service = envelope("v1", "Service", &[meta("a"), bytes(2, &[port, selector].concat())]);
    check(&format!("{core}/services"), service, "/spec/ports/0/targetPort", json!("http"));
    let container = bytes(2, &[text(1, "c"), text(2, "i:1")].concat());
    let spec = bytes(2, &[container, text(3, "Never"), text(19, "nobody")].concat());
    let pod = envelope("v1", "Pod", &[meta("a"), spec]);
    check(&format!("{core}/pods"), pod, "/spec/restartPolicy", json!("Never"));
    let about = bytes(2, &[text(1, "Pod"), text(2, "proto"), text(3, "a")].concat());
    let event = envelope("v1", "Event", &[meta("a"), about, text(3, "Seen"), text(4, "well"), text(9, "Normal")]);
    check(&format!("{core}/events"), event, "/reason", json!("Seen"));
    let lease =
        envelope("coordination.k8s.io/v1", "Lease", &[meta("a"), bytes(2, &[text(1, "h"), int(2, 15)].concat())]);
    let path = "/apis/coordination.k8s.io/v1/namespaces/proto/leases";
    check(path, lease, "/spec/leaseDurationSeconds", json!(15));
    let deployment = BASE64_STANDARD.decode(DEPLOYMENT).unwrap();
    check("/apis/apps/v1/namespaces/proto/deployments", deployment, "/spec/replicas", json!(0));

    let asked = bytes(2, &bytes(1, &[text(1, "proto"), text(2, "create"), text(5, "pods")].concat()));
    let review = envelope("authorization.k8s.io/v1", "SelfSubjectAccessReview", &[bytes(1, b""), asked]);
    check("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, "/status/allowed", json!(true));
    let review = envelope("authentication.k8s.io/v1", "SelfSubjectReview", &[bytes(1, b"")]);
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    check(path, review, "/status/userInfo/groups/0", json!("system:masters"));

    let map = format!("{core}/configmaps/a");
    let dry = envelope("v1", "DeleteOptions", &[text(5, "All")]);
    world.send("DELETE", &map, JSON, PROTOBUF, dry).expect(200);
    let wrong = envelope("v1", "DeleteOptions", &[bytes(2, &text(1, "no-such-uid"))]);
    world.send("DELETE", &map, JSON, PROTOBUF, wrong).refused(409, "Conflict");
    world.send("DELETE", &map, JSON, PROTOBUF, envelope("v1", "DeleteOptions", &[int(1, 0)])).expect(200);
    world.get(&map).refused(404, "NotFound");
    world.send("POST", &format!("{core}/configmaps"), JSON, PROTOBUF, "k8s\0nonsense").refused(400, "BadRequest");
}
