//! From ingresses to a matcher and certificates, as functions of what the informers hold.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use wherry_api::ObjectKey;

use super::certificates::Names;
use super::facts::{CLASS, ClassFacts, IngressFacts, Tls, TlsSecret};
use super::matcher::{Backend, Matcher};

/// The ingresses that are Wherry's to serve, the oldest first.
pub(crate) fn ours(
    ingresses: impl Iterator<Item = (ObjectKey, IngressFacts)>,
    classes: &HashMap<String, ClassFacts>,
) -> Vec<(ObjectKey, IngressFacts)> {
    let default = classes.values().any(|class| class.ours && class.default);
    let is_ours = |class: &Option<String>| match class {
        Some(name) => name == CLASS || classes.get(name).is_some_and(|class| class.ours),
        None => default,
    };
    let mut ours: Vec<_> = ingresses.filter(|(_, ingress)| is_ours(&ingress.class)).collect();
    ours.sort_by(|(a, x), (b, y)| (x.created, a).cmp(&(y.created, b)));
    ours
}

/// The matcher of these ingresses, the oldest first.
pub(crate) fn matcher(ingresses: &[(ObjectKey, IngressFacts)]) -> Matcher {
    let mut matcher = Matcher::default();
    for (_, ingress) in ingresses {
        for rule in &ingress.rules {
            for (path, kind, backend) in &rule.paths {
                matcher.add(&rule.host, path, *kind, backend.clone());
            }
        }
        if let Some(fallback) = &ingress.fallback {
            add_fallback(&mut matcher, ingress, fallback);
        }
    }
    matcher
}

/// An ingress's default backend serves its own hosts; without rules it serves all that nobody else does.
fn add_fallback(matcher: &mut Matcher, ingress: &IngressFacts, fallback: &Backend) {
    if ingress.rules.is_empty() {
        matcher.add_fallback(fallback.clone());
    }
    for rule in &ingress.rules {
        matcher.add_host_fallback(&rule.host, fallback.clone());
    }
}

/// The certificates by name; where `hosts` is empty, by the names in the certificate.
pub(crate) fn certificates(
    ingresses: &[(ObjectKey, IngressFacts)],
    secret: impl Fn(&ObjectKey) -> Option<TlsSecret>,
) -> Names {
    let mut names = Names::new();
    for tls in ingresses.iter().flat_map(|(_, ingress)| &ingress.tls) {
        match secret(&tls.secret) {
            Some(TlsSecret(Some(key))) => add_certificate(&mut names, tls, &key),
            Some(TlsSecret(None)) => {
                tracing::warn!(secret = %tls.secret, "not a certificate with its key; the ingress goes without");
            }
            None => {}
        }
    }
    names
}

fn add_certificate(names: &mut Names, tls: &Tls, key: &Arc<CertifiedKey>) {
    let hosts = if tls.hosts.is_empty() { names_in(key) } else { tls.hosts.clone() };
    for host in hosts {
        names.entry(host.to_ascii_lowercase()).or_insert_with(|| Arc::clone(key));
    }
}

fn names_in(key: &CertifiedKey) -> Vec<String> {
    let parsed = key.cert.first().and_then(|own| x509_parser::parse_x509_certificate(own).ok());
    let Some((_, certificate)) = parsed else { return Vec::new() };
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = alternatives.value.general_names.iter().filter_map(|name| match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    dns.collect()
}
