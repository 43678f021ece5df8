//! What the ingress needs of Ingresses, IngressClasses and TLS Secrets.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::{HTTPIngressPath, IngressBackend, IngressSpec};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use wherry_api::ObjectKey;
use wherry_api::kinds::{Ingress, IngressClass, Secret};
use wherry_client::Projection;

use super::matcher::{Backend, PathType};
use crate::table::PortRef;

/// The class that is Wherry's by name, and the controller that other classes name.
pub(crate) const CLASS: &str = "wherry";
pub(crate) const CONTROLLER: &str = "wherry.dev/ingress";

const DEFAULT_CLASS_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// An Ingress, reduced.
#[derive(Clone, Debug, Default)]
pub(crate) struct IngressFacts {
    /// Seconds; the older wins a conflict.
    pub(crate) created: i64,
    pub(crate) class: Option<String>,
    pub(crate) fallback: Option<Backend>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) tls: Vec<Tls>,
}

/// A rule for one host; an empty host is any.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) host: String,
    pub(crate) paths: Vec<(String, PathType, Backend)>,
}

/// Hosts and the secret with their certificate.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) hosts: Vec<String>,
    pub(crate) secret: ObjectKey,
}

/// An IngressClass, reduced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassFacts {
    pub(crate) ours: bool,
    pub(crate) default: bool,
}

/// A TLS Secret as rustls wants it; `None` where it does not hold a certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct TlsSecret(pub(crate) Option<Arc<CertifiedKey>>);

impl Projection<Ingress> for IngressFacts {
    fn project(ingress: Ingress) -> Self {
        let namespace = ingress.metadata.namespace.unwrap_or_default();
        let spec = ingress.spec.unwrap_or_default();
        let annotated = || ingress.metadata.annotations.unwrap_or_default().remove(CLASS_ANNOTATION);
        Self {
            created: ingress.metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
            class: spec.ingress_class_name.clone().or_else(annotated),
            fallback: spec.default_backend.as_ref().and_then(|to| backend(&namespace, to)),
            rules: rules(&namespace, &spec),
            tls: tls(&namespace, spec),
        }
    }
}

fn rules(namespace: &str, spec: &IngressSpec) -> Vec<Rule> {
    let path = |path: &HTTPIngressPath| {
        let kind = if path.path_type == "Exact" { PathType::Exact } else { PathType::Prefix };
        let text = path.path.as_deref().unwrap_or("/");
        Some((text.to_owned(), kind, backend(namespace, &path.backend)?))
    };
    let rules = spec.rules.iter().flatten().map(|rule| Rule {
        host: rule.host.clone().unwrap_or_default(),
        paths: rule.http.iter().flat_map(|http| &http.paths).filter_map(path).collect(),
    });
    rules.collect()
}

fn tls(namespace: &str, spec: IngressSpec) -> Vec<Tls> {
    let one = |tls: k8s_openapi::api::networking::v1::IngressTLS| {
        let secret = ObjectKey::new(namespace, tls.secret_name.as_deref()?);
        Some(Tls { hosts: tls.hosts.unwrap_or_default(), secret })
    };
    spec.tls.unwrap_or_default().into_iter().filter_map(one).collect()
}

/// A Service's port; resource backends have no meaning here.
fn backend(namespace: &str, backend: &IngressBackend) -> Option<Backend> {
    let service = backend.service.as_ref()?;
    let port = service.port.as_ref()?;
    let port = match (&port.name, port.number) {
        (Some(name), _) => PortRef::Name(name.clone()),
        (None, number) => PortRef::Number(u16::try_from(number?).ok()?),
    };
    Some(Backend { service: ObjectKey::new(namespace, &service.name), port })
}

impl Projection<IngressClass> for ClassFacts {
    fn project(class: IngressClass) -> Self {
        let controller = class.spec.and_then(|spec| spec.controller);
        let annotations = class.metadata.annotations.unwrap_or_default();
        Self {
            ours: controller.as_deref() == Some(CONTROLLER) || class.metadata.name.as_deref() == Some(CLASS),
            default: annotations.get(DEFAULT_CLASS_ANNOTATION).is_some_and(|value| value == "true"),
        }
    }
}

impl Projection<Secret> for TlsSecret {
    fn project(secret: Secret) -> Self {
        let mut data = secret.data.unwrap_or_default();
        let mut part = |name: &str| data.remove(name).map(|bytes| bytes.0).unwrap_or_default();
        Self(certified_key(&part("tls.crt"), &part("tls.key")).map(Arc::new))
    }
}

/// A certificate chain and its key from PEM; `None` where they cannot be read or do not fit each other.
pub(crate) fn certified_key(chain: &[u8], key: &[u8]) -> Option<CertifiedKey> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(key).ok()?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).ok()
}
