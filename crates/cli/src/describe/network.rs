//! Services and Ingresses.

use serde_json::Value;
use wherry_api::kinds::{EndpointSlice, Kind};
use wherry_client::{Client, ListOptions};

use super::page::Page;
use super::pod::items;
use crate::get::pairs_of;
use crate::objects::{Objects, text};
use crate::template::plain;

/// The page of a service, with the addresses behind it.
pub async fn service(client: &Client, object: &Value, page: &mut Page) -> anyhow::Result<()> {
    page.row("Selector", pairs_of(object, "/spec/selector", ","));
    page.row("Type", text(object, "/spec/type"));
    page.row("IP", text(object, "/spec/clusterIP"));
    page.row_if("External Name", text(object, "/spec/externalName"));
    let (name, namespace) = (text(object, "/metadata/name"), text(object, "/metadata/namespace"));
    let slices = Objects::new(client, EndpointSlice::resource(), Some(namespace));
    let labels = format!("kubernetes.io/service-name={name}");
    let slices = slices.list(ListOptions { labels, ..ListOptions::default() }).await?;
    for port in items(object, "/spec/ports") {
        let number = |key: &str| port.get(key).map(plain).unwrap_or_default();
        let (own, protocol) = (text(port, "/name"), text(port, "/protocol"));
        page.row("Port", format!("{own} {}/{protocol}", number("port")).trim().to_owned());
        page.row("Target Port", format!("{}/{protocol}", number("targetPort")));
        page.row_if("Node Port", &number("nodePort"));
        page.list("Endpoints", &endpoints(&slices, own));
    }
    page.row("Session Affinity", text(object, "/spec/sessionAffinity"));
    Ok(())
}

/// The ready addresses of a port.
fn endpoints(slices: &[Value], port: &str) -> Vec<String> {
    let mut found = Vec::new();
    for slice in slices {
        let number = items(slice, "/ports").iter().find(|known| text(known, "/name") == port);
        let number = number.and_then(|port| port.get("port")).map(plain).unwrap_or_default();
        let ready = |endpoint: &&Value| endpoint.pointer("/conditions/ready") == Some(&Value::Bool(true));
        let addresses = items(slice, "/endpoints").iter().filter(ready).flat_map(|one| items(one, "/addresses"));
        found.extend(addresses.map(|address| format!("{}:{number}", plain(address))));
    }
    found
}

/// The page of an ingress.
pub fn ingress(object: &Value, page: &mut Page) {
    page.row("Ingress Class", text(object, "/spec/ingressClassName"));
    let address = ["/ip", "/hostname"].map(|key| text(object, &format!("/status/loadBalancer/ingress/0{key}")));
    page.row("Address", address.concat());
    let backend = |backend: Option<&Value>| {
        let service = backend.and_then(|backend| backend.get("service"));
        let port = service.and_then(|service| ["/port/name", "/port/number"].iter().find_map(|p| service.pointer(p)));
        format!("{}:{}", service.map(|s| text(s, "/name")).unwrap_or_default(), port.map(plain).unwrap_or_default())
    };
    if let Some(default) = object.pointer("/spec/defaultBackend") {
        page.row("Default Backend", backend(Some(default)));
    }
    for tls in items(object, "/spec/tls") {
        let hosts: Vec<String> = items(tls, "/hosts").iter().map(plain).collect();
        page.row("TLS", format!("{} terminates {}", text(tls, "/secretName"), hosts.join(", ")));
    }
    page.title("Rules");
    page.inside(|page| {
        for rule in items(object, "/spec/rules") {
            let host = Some(text(rule, "/host")).filter(|host| !host.is_empty()).unwrap_or("*");
            let path = |path: &Value| {
                format!("{} ({}) -> {}", text(path, "/path"), text(path, "/pathType"), backend(path.get("backend")))
            };
            page.list(host, &items(rule, "/http/paths").iter().map(path).collect::<Vec<_>>());
        }
    });
}
