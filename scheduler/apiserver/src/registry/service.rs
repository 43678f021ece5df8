//! Addresses of Services: cluster addresses and node ports, chosen here, once, under one lock.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::{Value, json};
use wherry_api::kinds::{Kind, Service};
use wherry_api::{Cause, Error, Resource};
use wherry_store::Entry;

use super::Registry;
use super::object::{decode, meta, refused};

/// The ports of the host that Services may have.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// What is taken by other Services.
#[derive(Default)]
struct Taken {
    addresses: BTreeSet<String>,
    ports: BTreeSet<(u16, String)>,
}

/// A Service keeps its addresses when a client leaves them out of an update.
pub(super) fn keep_addresses(resource: &'static Resource, present: &Value, wanted: &mut Value) {
    if !is_service(resource) || text(wanted, "/spec/type") == "ExternalName" {
        return;
    }
    for field in ["clusterIP", "clusterIPs"] {
        let unset = wanted.pointer(&format!("/spec/{field}")).is_none_or(|v| v.is_null() || v == "");
        let kept = present.pointer(&format!("/spec/{field}")).cloned();
        if let (true, Some(kept), Some(spec)) = (unset, kept, wanted.get_mut("spec").and_then(Value::as_object_mut)) {
            spec.insert(field.to_owned(), kept);
        }
    }
    keep_node_ports(present, wanted);
}

/// Gives a Service what it has not yet: a cluster address, node ports.
pub(super) fn allocate(
    registry: &Registry,
    resource: &'static Resource,
    object: &mut Value,
    present: Option<&Value>,
) -> Result<(), Error> {
    let kind = text(object, "/spec/type").to_owned();
    let own = (meta(object, "namespace").to_owned(), meta(object, "name").to_owned());
    let taken = taken(registry, &own)?;
    if kind != "ExternalName" {
        let before = present.map(|p| text(p, "/spec/clusterIP").to_owned()).unwrap_or_default();
        allocate_address(registry, resource, object, &taken, &before)?;
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        allocate_ports(registry, resource, object, &taken)?;
    }
    Ok(())
}

pub(super) fn is_service(resource: &'static Resource) -> bool {
    std::ptr::eq(resource, Service::resource())
}

fn taken(registry: &Registry, own: &(String, String)) -> Result<Taken, Error> {
    let mut taken = Taken::default();
    let snapshot = registry.store().snapshot(Service::resource());
    let others =
        snapshot.objects.iter().filter(|(key, _)| (&*key.namespace, &*key.name) != (own.0.as_str(), own.1.as_str()));
    for (_, entry) in others {
        note(&mut taken, entry)?;
    }
    Ok(taken)
}

/// The address is in the index; only a Service with ports of the host is decoded.
fn note(taken: &mut Taken, entry: &Entry) -> Result<(), Error> {
    let field = |path| {
        let place = Service::resource().selectable.iter().position(|own| *own == path);
        place.and_then(|place| entry.index.fields.get(place)).map(|text| &**text).unwrap_or_default()
    };
    taken.addresses.insert(field("spec.clusterIP").to_owned());
    if !matches!(field("spec.type"), "NodePort" | "LoadBalancer") {
        return Ok(());
    }
    let service = decode(entry)?;
    for port in service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten() {
        if let Some(number) = node_port(port) {
            taken.ports.insert((number, protocol(port)));
        }
    }
    Ok(())
}

fn allocate_address(
    registry: &Registry,
    resource: &'static Resource,
    object: &mut Value,
    taken: &Taken,
    before: &str,
) -> Result<(), Error> {
    let cidr = registry.inner.config.service_cidr;
    let asked = text(object, "/spec/clusterIP").to_owned();
    let address = match asked.as_str() {
        "None" => asked,
        "" => pick(registry, cidr, taken)
            .ok_or_else(|| invalid(resource, object, "spec.clusterIP", "", "the range is full"))?,
        _ if asked == before => asked,
        _ if !asked.parse().is_ok_and(|ip: IpAddr| cidr.contains(&ip)) => {
            return Err(invalid(
                resource,
                object,
                "spec.clusterIP",
                &asked,
                &format!("the provided IP is not in the valid range {cidr}"),
            ));
        }
        _ if taken.addresses.contains(&asked) => {
            return Err(invalid(resource, object, "spec.clusterIP", &asked, "provided IP is already allocated"));
        }
        _ => asked,
    };
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("clusterIPs".into(), json!([address]));
        spec.insert("clusterIP".into(), address.into());
    }
    Ok(())
}

/// A free address, from a random place on; the first belongs to the Service `kubernetes`.
fn pick(registry: &Registry, cidr: IpNet, taken: &Taken) -> Option<String> {
    let IpNet::V4(range) = cidr else { return None };
    let first = u32::from(range.network());
    let size = u32::from(range.broadcast()).saturating_sub(first);
    let usable = size.checked_sub(2)?;
    let start = u32::try_from(registry.inner.rng.below(usable as usize)).unwrap_or(0);
    let candidates = (0..usable).map(|step| first + 2 + (start + step) % usable);
    candidates.map(|number| Ipv4Addr::from(number).to_string()).find(|address| !taken.addresses.contains(address))
}

fn allocate_ports(
    registry: &Registry,
    resource: &'static Resource,
    object: &mut Value,
    taken: &Taken,
) -> Result<(), Error> {
    let mut taken: BTreeSet<(u16, String)> = taken.ports.clone();
    let ports = object.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut chosen = Vec::with_capacity(ports.len());
    for (index, mut port) in ports.into_iter().enumerate() {
        let protocol = protocol(&port);
        let number = match node_port(&port) {
            Some(asked) if taken.contains(&(asked, protocol.clone())) => {
                let field = format!("spec.ports[{index}].nodePort");
                return Err(invalid(
                    resource,
                    object,
                    &field,
                    &asked.to_string(),
                    "provided port is already allocated",
                ));
            }
            Some(asked) => asked,
            None => free_port(registry, &taken, &protocol).ok_or_else(|| {
                invalid(resource, object, &format!("spec.ports[{index}].nodePort"), "", "the range is full")
            })?,
        };
        taken.insert((number, protocol));
        if let Some(map) = port.as_object_mut() {
            map.insert("nodePort".into(), number.into());
        }
        chosen.push(port);
    }
    if let Some(ports) = object.pointer_mut("/spec/ports") {
        *ports = chosen.into();
    }
    Ok(())
}

fn free_port(registry: &Registry, taken: &BTreeSet<(u16, String)>, protocol: &str) -> Option<u16> {
    let size = NODE_PORTS.end() - NODE_PORTS.start() + 1;
    let start = u16::try_from(registry.inner.rng.below(usize::from(size))).unwrap_or(0);
    let candidates = (0..size).map(|step| NODE_PORTS.start() + (start + step) % size);
    candidates.into_iter().find(|port| !taken.contains(&(*port, protocol.to_owned())))
}

fn keep_node_ports(present: &Value, wanted: &mut Value) {
    let before = present.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_exposed = matches!(text(wanted, "/spec/type"), "NodePort" | "LoadBalancer");
    let Some(ports) = wanted.pointer_mut("/spec/ports").and_then(Value::as_array_mut).filter(|_| is_exposed) else {
        return;
    };
    for port in ports {
        let same = |old: &&Value| old.get("port") == port.get("port") && protocol(old) == protocol(port);
        let kept = before.iter().find(same).and_then(node_port);
        if let (None, Some(kept), Some(map)) = (node_port(port), kept, port.as_object_mut()) {
            map.insert("nodePort".into(), kept.into());
        }
    }
}

fn node_port(port: &Value) -> Option<u16> {
    let number = port.get("nodePort").and_then(Value::as_u64)?;
    u16::try_from(number).ok().filter(|number| *number > 0)
}

fn protocol(port: &Value) -> String {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned()
}

pub(super) fn invalid(resource: &Resource, object: &Value, field: &str, value: &str, why: &str) -> Error {
    let message = format!("Invalid value: \"{value}\": {why}");
    let cause = Cause { reason: "FieldValueInvalid", field: field.to_owned(), message };
    refused(resource, meta(object, "name"), wherry_api::resource::AdmitError::Invalid(vec![cause]))
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
