//! Certificate signing requests: those that nodes make for themselves are approved and signed, and all are removed when
//! nobody waits for them any more. Others (`kubernetes.io/kube-apiserver-client`) are signed once a person approves them.
//!
//! Follows Kubernetes' `csrapproving`, `csrsigning` and `csrcleaner`, and its rules for its own signers. A request that
//! breaks them is denied, and says why.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::k8s_openapi::ByteString;
use wherry_api::kinds::{CertificateSigningRequest, Kind, Node};
use wherry_api::routes::MASTER_NAMES;
use wherry_api::well_known::{ADMINISTRATORS, BOOTSTRAPPERS, MASTERS, NODE_USER, NODES};
use wherry_pki::{Authority, SigningRequest, Usage, Validity};

use crate::driver::{Controller, Sources};
use crate::nodes::ready;
use crate::plan::{Action, Plan};
use crate::world::{View, World};

const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const NODE_SERVER: &str = "kubernetes.io/kubelet-serving";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// What a certificate may be used for besides authentication.
const KEY_USAGES: [&str; 2] = ["digital signature", "key encipherment"];
/// How long a request is kept that was decided on, and one that was not.
const KEPT: (Duration, Duration) = (Duration::from_hours(1), Duration::from_hours(24));

pub(crate) struct Signing {
    pub(crate) authority: Arc<Authority>,
    /// How long certificates are valid that ask for no shorter time.
    pub(crate) life: Duration,
}

/// What becomes of a request that nobody has decided on.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Approve(&'static str),
    Deny(String),
    /// For a person to decide.
    Leave,
}

impl Controller for Signing {
    const NAME: &'static str = "csrsigning";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
        sources.follow_own(&world.requests);
    }

    fn reconcile(&self, view: &View, key: &ObjectKey) -> Plan {
        let mut plan = Plan::nothing();
        let Some(request) = view.requests.get(key) else { return plan };
        let has = |kind| conditions(request).any(|(type_, _)| type_ == kind);
        let is_issued = request.status.as_ref().is_some_and(|status| status.certificate.is_some());
        match (has("Denied") || has("Failed") || is_issued, has("Approved")) {
            (false, true) => self.sign(view.now, key, request, &mut plan),
            (false, false) => decide(view, key, request, &mut plan),
            (true, _) => {}
        }
        clean(view.now, key, request, &mut plan);
        plan
    }
}

impl Signing {
    fn sign(&self, now: Timestamp, key: &ObjectKey, request: &CertificateSigningRequest, plan: &mut Plan) {
        let Some(usage) = usage(&request.spec.signer_name) else { return };
        let asked = request.spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let life = asked.map_or(self.life, |seconds| self.life.min(Duration::from_secs(seconds)));
        let certificate = read(request)
            .and_then(|read| if allowed(request, &read) { Ok(read) } else { Err(FORM.to_owned()) })
            .and_then(|read| self.authority.grant(&read, usage, Validity::of(now, life)).map_err(|e| e.to_string()));
        let status = match certificate {
            Ok(certificate) => json!({"certificate": ByteString(certificate.into_bytes())}),
            Err(why) => json!({"conditions": with_condition(request, "Failed", "SignerValidationFailure", &why, now)}),
        };
        plan.status::<CertificateSigningRequest>(key, &request.metadata, status);
    }
}

fn conditions(request: &CertificateSigningRequest) -> impl Iterator<Item = (&str, &str)> {
    let conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.map(|condition| (condition.type_.as_str(), condition.status.as_str()))
}

fn decide(view: &View, key: &ObjectKey, request: &CertificateSigningRequest, plan: &mut Plan) {
    let (kind, reason, message) = match verdict(view, request) {
        Verdict::Approve(message) => ("Approved", "AutoApproved", message.to_owned()),
        Verdict::Deny(message) => ("Denied", "AutoDenied", message),
        Verdict::Leave => return,
    };
    let mut object = json!(request);
    if let Some(map) = object.as_object_mut() {
        map.insert("status".into(), json!({"conditions": with_condition(request, kind, reason, &message, view.now)}));
    }
    let resource = CertificateSigningRequest::resource();
    plan.actions.push(Action::Replace { resource, key: key.clone(), subresource: "approval", object });
}

const FORM: &str = "the request is not of the form that its signer signs";

fn verdict(view: &View, request: &CertificateSigningRequest) -> Verdict {
    let signer = request.spec.signer_name.as_str();
    if !matches!(signer, NODE_CLIENT | NODE_SERVER) {
        return Verdict::Leave;
    }
    let wanted = match read(request) {
        Ok(wanted) if allowed(request, &wanted) => wanted,
        Ok(_) => return Verdict::Deny(FORM.to_owned()),
        Err(why) => return Verdict::Deny(why),
    };
    let node = wanted.user.strip_prefix(NODE_USER).unwrap_or_default();
    let node = view.nodes.get(&ObjectKey::new("", node));
    let is_self = request.spec.username.as_deref() == Some(&wanted.user);
    let joins = request.spec.groups.iter().flatten().any(|group| group == BOOTSTRAPPERS);
    match (signer, node) {
        (NODE_CLIENT, _) if is_self => Verdict::Approve("a node renews its client certificate"),
        (NODE_CLIENT, Some(node)) if joins && ready(node) == Some("True") => Verdict::Deny(in_use(node)),
        (NODE_CLIENT, _) if joins => Verdict::Approve("a node joins"),
        (NODE_SERVER, Some(node)) if is_self && has_names(node, &wanted.names) => {
            Verdict::Approve("a node asks for the names that its Node has")
        }
        (NODE_SERVER, _) if is_self => {
            Verdict::Deny(format!("the node may not have all of the names {}", wanted.names.join(", ")))
        }
        _ => Verdict::Leave,
    }
}

fn in_use(node: &Node) -> String {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    format!(
        "a node named \"{name}\" is alive; choose another --name, or stop that node and delete it: kubectl delete node {name}"
    )
}

fn read(request: &CertificateSigningRequest) -> Result<SigningRequest, String> {
    let pem = std::str::from_utf8(&request.spec.request.0).map_err(|_| "the request is no PEM text".to_owned())?;
    SigningRequest::from_pem(pem).map_err(|e| e.to_string())
}

const fn usage(signer: &str) -> Option<Usage> {
    match signer.as_bytes() {
        b"kubernetes.io/kube-apiserver-client" | b"kubernetes.io/kube-apiserver-client-kubelet" => Some(Usage::Client),
        b"kubernetes.io/kubelet-serving" => Some(Usage::Server),
        _ => None,
    }
}

/// Whether a request has the form that its signer signs: subject, names and usages.
fn allowed(request: &CertificateSigningRequest, wanted: &SigningRequest) -> bool {
    let group = wanted.group.as_deref();
    let is_node = group == Some(NODES) && wanted.user.len() > NODE_USER.len() && wanted.user.starts_with(NODE_USER);
    let usages: Vec<&str> = request.spec.usages.iter().flatten().map(String::as_str).collect();
    let is_used_for =
        |own: &str| usages.contains(&own) && usages.iter().all(|usage| *usage == own || KEY_USAGES.contains(usage));
    match request.spec.signer_name.as_str() {
        NODE_CLIENT => is_node && wanted.names.is_empty() && is_used_for("client auth"),
        NODE_SERVER => is_node && !wanted.names.is_empty() && is_used_for("server auth"),
        CLIENT => {
            let is_harmless = group.is_none_or(|group| ![ADMINISTRATORS, MASTERS].contains(&group));
            is_harmless && wanted.names.is_empty() && is_used_for("client auth")
        }
        _ => false,
    }
}

/// Whether a node may have these names. It says itself what its addresses are, and nobody relies on them; of other names than its
/// own none is believed, and a master's never.
fn has_names(node: &Node, names: &[String]) -> bool {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let is_own = |name: &String| node.metadata.name.as_ref() == Some(name) && !MASTER_NAMES.contains(&name.as_str());
    let is_said = |name: &String| addresses.iter().any(|own| own.address == *name);
    names.iter().all(|name| is_said(name) && (name.parse::<IpAddr>().is_ok() || is_own(name)))
}

fn with_condition(
    request: &CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Vec<Value> {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let present = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let new = json!({
        "type": kind, "status": "True", "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": now,
    });
    present.map(|condition| json!(condition)).chain([new]).collect()
}

/// Removes a request that nobody waits for any more; looks again when that will be so.
fn clean(now: Timestamp, key: &ObjectKey, request: &CertificateSigningRequest, plan: &mut Plan) {
    let Some(created) = request.metadata.creation_timestamp.as_ref() else { return };
    let kept = if conditions(request).next().is_some() { KEPT.0 } else { KEPT.1 };
    let age = Duration::try_from(now.duration_since(created.0)).unwrap_or_default();
    match kept.checked_sub(age).filter(|left| !left.is_zero()) {
        Some(left) => plan.look_again(left),
        None => plan.delete::<CertificateSigningRequest>(key, &request.metadata, None),
    }
}
