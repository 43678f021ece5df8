//! Faults of Ingresses and their classes. Follows `k8s.io/kubernetes/pkg/apis/networking/validation`.

use k8s_openapi::api::networking::v1::{HTTPIngressPath, IngressBackend, IngressRule};

use crate::kinds::{Ingress, IngressClass};
use crate::validate::names;
use crate::validate::path::{Faults, Path};

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];

pub(crate) fn ingress(ingress: &Ingress, faults: &mut Faults) {
    let at = Path::Root("spec");
    let Some(spec) = &ingress.spec else { return faults.required(&at, "") };
    let rules = spec.rules.as_deref().unwrap_or_default();
    match &spec.default_backend {
        Some(default) => backend(default, &at.field("defaultBackend"), faults),
        None if rules.is_empty() => {
            faults.invalid(&at, &spec.rules, "either `defaultBackend` or `rules` must be specified")
        }
        None => {}
    }
    let at_rules = at.field("rules");
    for (index, one) in rules.iter().enumerate() {
        rule(one, &at_rules.index(index), faults);
    }
    if let Some(class) = &spec.ingress_class_name {
        faults.all(&at.field("ingressClassName"), class, names::dns1123_subdomain(class));
    }
    let at_tls = at.field("tls");
    for (index, tls) in spec.tls.iter().flatten().enumerate() {
        let at = at_tls.index(index);
        if let Some(name) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) {
            faults.all(&at.field("secretName"), name, names::dns1123_subdomain(name));
        }
        let at = at.field("hosts");
        for (index, name) in tls.hosts.iter().flatten().enumerate() {
            host(name, &at.index(index), faults);
        }
    }
}

/// The old way and the new way to name a class do not go together.
pub(crate) fn ingress_new(ingress: &Ingress, faults: &mut Faults) {
    const CLASS: &str = "kubernetes.io/ingress.class";
    let old = ingress.metadata.annotations.as_ref().and_then(|all| all.get(CLASS));
    let new = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
    if let (Some(old), Some(_)) = (old, new) {
        let at = Path::Root("annotations");
        faults.invalid(&at.field(CLASS), old, "can not be set when the class field is also set");
    }
}

/// The longest controller name.
const CONTROLLER_BYTES_MAX: usize = 250;

pub(crate) fn class(class: &IngressClass, faults: &mut Faults) {
    let at = Path::Root("spec");
    let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref()).unwrap_or_default();
    if controller.is_empty() {
        faults.required(&at.field("controller"), "");
    } else if controller.len() > CONTROLLER_BYTES_MAX {
        faults.too_long(&at.field("controller"), CONTROLLER_BYTES_MAX);
    } else if !controller.contains('/') {
        faults.invalid(&at.field("controller"), controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    }
}

pub(crate) fn class_update(class: &IngressClass, old: &IngressClass, faults: &mut Faults) {
    let controller = |c: &IngressClass| c.spec.as_ref().and_then(|spec| spec.controller.clone());
    faults.immutable(&Path::Root("spec").field("controller"), &controller(class), &controller(old));
}

fn rule(rule: &IngressRule, at: &Path<'_>, faults: &mut Faults) {
    if let Some(name) = rule.host.as_deref().filter(|name| !name.is_empty()) {
        host(name, &at.field("host"), faults);
    }
    let Some(http) = &rule.http else { return };
    let at = at.field("http");
    let at = at.field("paths");
    if http.paths.is_empty() {
        faults.required(&at, "");
    }
    for (index, one) in http.paths.iter().enumerate() {
        path(one, &at.index(index), faults);
    }
}

fn host(name: &str, at: &Path<'_>, faults: &mut Faults) {
    if name.parse::<std::net::IpAddr>().is_ok() {
        faults.invalid(at, name, "must be a DNS name, not an IP address");
    } else if name.starts_with("*.") {
        faults.all(at, name, names::wildcard_subdomain(name));
    } else {
        faults.all(at, name, names::dns1123_subdomain(name));
    }
}

fn path(path: &HTTPIngressPath, at: &Path<'_>, faults: &mut Faults) {
    let text = path.path.as_deref().unwrap_or_default();
    match path.path_type.as_str() {
        "" => faults.required(&at.field("pathType"), "pathType must be specified"),
        kind => faults.one_of(&at.field("pathType"), Some(kind), &PATH_TYPES),
    }
    let needs_slash = path.path_type != "ImplementationSpecific" || !text.is_empty();
    if needs_slash && !text.starts_with('/') {
        faults.invalid(&at.field("path"), text, "must be an absolute path");
    }
    for bad in ["//", "/./", "/../", "%2f", "%2F"] {
        if path.path_type != "ImplementationSpecific" && text.contains(bad) {
            faults.invalid(&at.field("path"), text, &format!("must not contain '{bad}'"));
        }
    }
    backend(&path.backend, &at.field("backend"), faults);
}

fn backend(backend: &IngressBackend, at: &Path<'_>, faults: &mut Faults) {
    match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => faults.invalid(at, "", "cannot set both resource and service backends"),
        (None, None) => faults.required(at, "resource or service backend is required"),
        (None, Some(_)) => faults.forbidden(&at.field("resource"), "resource backends are not served; name a service"),
        (Some(service), None) => {
            let at = at.field("service");
            faults.all(&at.field("name"), service.name.as_str(), names::dns1035_label(&service.name));
            let port = service.port.clone().unwrap_or_default();
            match (port.name.as_deref().filter(|name| !name.is_empty()), port.number.filter(|number| *number != 0)) {
                (Some(_), Some(_)) => faults.invalid(&at.field("port"), "", "cannot set both port name & port number"),
                (None, None) => faults.required(&at.field("port"), "port name or number is required"),
                (None, Some(number)) => {
                    faults.all(&at.field("port").field("number"), number, names::port_number(number))
                }
                (Some(name), None) => faults.all(&at.field("port").field("name"), name, names::port_name(name)),
            }
        }
    }
}
