//! Certificate signing requests: whose are approved, and what is signed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::ByteString;
use wherry_api::kinds::{CertificateSigningRequest, Kind, Node};
use wherry_client::{Request, Verb};
use wherry_fixture as fixture;
use wherry_pki::{Authority, Subject};

use super::scene::{NODE, Scene, looks_again, words};
use crate::signing::Signing;

const NODE_CLIENT: &str = "kube-apiserver-client-kubelet";
const NODE_SERVER: &str = "kubelet-serving";

#[derive(Clone, Copy)]
struct Asked<'a> {
    signer: &'a str,
    usage: &'a str,
    user: &'a str,
    group: &'a str,
    names: &'a [&'a str],
}

const JOIN: Asked<'static> =
    Asked { signer: NODE_CLIENT, usage: "client auth", user: "system:node:new", group: "system:nodes", names: &[] };

/// What becomes of a request by this user; it is asked in the store directly, since the API stamps who asks.
async fn outcome(asked: &Asked<'_>, by: (&str, &str), is_alive: bool) -> String {
    let addresses =
        ["10.0.0.1", NODE, "n2", "kubernetes.default.svc"].map(|name| format!("{{type: X, address: {name}}}"));
    let scene = Scene::of(&fixture::node(NODE, &format!("addresses: [{}]", addresses.join(", ")))).await;
    if is_alive {
        scene.status::<Node>(NODE, json!({"conditions": [{"type": "Ready", "status": "True"}]})).await;
    }
    let names: Vec<String> = asked.names.iter().map(|&name| name.to_owned()).collect();
    let subject = Subject { user: asked.user, group: Some(asked.group), names: &names };
    let pem = wherry_pki::request(&wherry_pki::new_key().unwrap(), &subject).unwrap();
    let spec = json!({
        "request": ByteString(pem.into_bytes()), "signerName": format!("kubernetes.io/{}", asked.signer),
        "usages": ["digital signature", asked.usage],
    });
    let client = scene.client_of(by.0, by.1);
    let body = json!({"metadata": {"name": "csr"}, "spec": spec}).to_string().into();
    let resource = CertificateSigningRequest::resource();
    let request = Request { resource, namespace: None, name: String::new(), subresource: "", verb: Verb::Create(body) };
    if let Err(error) = client.transport().send(request).await {
        return format!("Refused: {error}");
    }
    let controller = Signing {
        authority: Arc::new(Authority::generate("test", scene.now()).unwrap()),
        life: Duration::from_secs(86_400),
    };
    scene.settle_one(&controller, &ObjectKey::new("", "csr")).await;
    let request = scene.client.all::<CertificateSigningRequest>().get("csr").await.unwrap();
    let status = request.status.unwrap_or_default();
    if let Some(certificate) = status.certificate {
        return String::from_utf8(certificate.0).unwrap().lines().next().unwrap().to_owned();
    }
    let condition = status.conditions.unwrap_or_default().pop();
    condition.map_or_else(|| "left".to_owned(), |c| format!("{}: {}", c.type_, c.message.unwrap_or_default()))
}

const ISSUED: &str = "-----BEGIN CERTIFICATE-----";
const JOINER: (&str, &str) = ("system:bootstrap:abcdef", "system:bootstrappers");
const ITSELF: (&str, &str) = ("system:node:n1", "system:nodes");

#[tokio::test]
async fn a_machine_that_joins_gets_the_certificate_of_a_node() {
    let check = async |asked: Asked<'_>, by, is_alive, expected: &str| {
        let found = outcome(&asked, by, is_alive).await;
        assert!(found.starts_with(expected), "wanted {expected}, found {found}");
    };
    check(JOIN, JOINER, true, ISSUED).await;
    let own = Asked { user: "system:node:n1", ..JOIN };
    check(own, JOINER, false, ISSUED).await;
    check(Asked { user: "system:node:n1", ..JOIN }, JOINER, true, "Denied: a node named \"n1\" is alive").await;
    for wrong in [
        Asked { user: "kubernetes-admin", ..JOIN },
        Asked { group: "system:masters", ..JOIN },
        Asked { usage: "server auth", ..JOIN },
        Asked { names: &["10.0.0.1"], ..JOIN },
    ] {
        check(wrong, JOINER, false, "Denied: the request is not of the form").await;
    }
}

#[tokio::test]
async fn a_node_renews_its_own_and_no_others() {
    let check = async |asked: Asked<'_>, expected: &str| {
        let found = outcome(&asked, ITSELF, true).await;
        assert!(found.starts_with(expected), "wanted {expected}, found {found}");
    };
    check(Asked { user: "system:node:n1", ..JOIN }, ISSUED).await;
    let refused =
        "Refused: certificatesigningrequests.certificates.k8s.io \"csr\" is forbidden: can only create a node CSR";
    check(JOIN, refused).await;
    let server = Asked { signer: NODE_SERVER, usage: "server auth", user: "system:node:n1", ..JOIN };
    check(Asked { names: &["10.0.0.1", NODE], ..server }, ISSUED).await;
    for names in [&["10.0.0.2"], &["n2"], &["kubernetes.default.svc"]] {
        let expected = format!("Denied: the node may not have all of the names {}", names[0]);
        check(Asked { names, ..server }, &expected).await;
    }
    check(Asked { signer: "kube-apiserver-client", user: "eve", group: "people", ..JOIN }, "left").await;
}

#[tokio::test]
async fn requests_go_when_nobody_waits_any_more() {
    let scene = Scene::of("").await;
    let pem =
        wherry_pki::request(&wherry_pki::new_key().unwrap(), &Subject { user: "eve", ..Subject::default() }).unwrap();
    let spec =
        json!({"request": ByteString(pem.into_bytes()), "signerName": "example.com/own", "usages": ["client auth"]});
    let csr = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "csr"}, "spec": spec});
    scene.add(&csr.to_string()).await;
    let controller = Signing {
        authority: Arc::new(Authority::generate("test", scene.now()).unwrap()),
        life: Duration::from_secs(86_400),
    };
    let key = ObjectKey::new("", "csr");
    assert_eq!(looks_again(&scene.step(&controller, &key).await), Some(86_400));
    scene.pass(86_400);
    assert_eq!(words(&scene.step(&controller, &key).await), "delete certificatesigningrequest");
}
