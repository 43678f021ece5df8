//! Services, for themselves or for the pods of something, and ingresses.

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use super::{int_or_string, labelled, map, object, with};
use crate::args::{ExposeArgs, IngressArgs, PortsArgs, ServiceKind, ServiceType};
use crate::objects::text;

/// `create service`.
pub fn service(kind: &ServiceKind) -> anyhow::Result<Value> {
    let (args, kind, (field, value)) = match kind {
        ServiceKind::Clusterip { ports, clusterip } => (ports, "ClusterIP", ("clusterIP", clusterip.as_deref().into())),
        ServiceKind::Nodeport { ports, node_port } => (ports, "NodePort", ("nodePort", (*node_port).into())),
        ServiceKind::Externalname { ports, external_name } => {
            (ports, "ExternalName", ("externalName", external_name.as_str().into()))
        }
    };
    let labels = Map::from_iter([("app".to_owned(), Value::from(args.name.as_str()))]);
    let mut ports = ports(args)?;
    let mut spec = json!({"type": kind, "selector": labels});
    match (field, value) {
        (_, Value::Null) => {}
        ("nodePort", number) => {
            ports = ports.into_iter().map(|port| with(port, "nodePort", number.clone())).collect();
        }
        (field, value) => spec = with(spec, field, value),
    }
    if !ports.is_empty() {
        spec = with(spec, "ports", ports.into());
    }
    Ok(with(labelled("v1", "Service", &args.name, labels), "spec", spec))
}

fn ports(args: &PortsArgs) -> anyhow::Result<Vec<Value>> {
    let one = |text: &String| {
        let (port, target) = text.split_once(':').unwrap_or((text, text));
        let number: u16 = port.parse().ok().with_context(|| format!("\"{text}\" is not PORT or PORT:TARGET"))?;
        let name = text.replace(':', "-");
        Ok(json!({"name": name, "port": number, "protocol": "TCP", "targetPort": int_or_string(target)}))
    };
    args.tcp.iter().map(one).collect()
}

/// `expose`: a service for the pods of an object.
pub fn exposed(object: &Value, args: &ExposeArgs) -> anyhow::Result<Value> {
    let own = text(object, "/metadata/name");
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let labels = if args.labels.is_empty() { labels } else { map(&args.labels) };
    let selector = if args.selector.is_empty() { selector(object)? } else { map(&args.selector) };
    let mut spec = json!({"selector": selector, "ports": exposed_ports(object, args)?});
    let kind = args.kind.map(|kind| match kind {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
    });
    for (field, value) in [("type", kind), ("clusterIP", args.cluster_ip.as_deref())] {
        if let Some(value) = value {
            spec = with(spec, field, value.into());
        }
    }
    Ok(with(labelled("v1", "Service", args.name.as_deref().unwrap_or(own), labels), "spec", spec))
}

/// Which labels an object's pods have.
fn selector(object: &Value) -> anyhow::Result<Map<String, Value>> {
    let kind = text(object, "/kind");
    let place = match kind {
        "Pod" => "/metadata/labels",
        "Service" => "/spec/selector",
        "Deployment" | "ReplicaSet" if object.pointer("/spec/selector/matchExpressions").is_none() => {
            "/spec/selector/matchLabels"
        }
        "Deployment" | "ReplicaSet" => bail!("a service cannot select by expressions; say --selector"),
        _ => bail!("cannot expose a {kind}; name a deployment, replicaset, pod or service"),
    };
    let found = object.pointer(place).and_then(Value::as_object).filter(|labels| !labels.is_empty());
    found.cloned().with_context(|| format!("the {kind} names no labels of pods; say --selector"))
}

fn exposed_ports(object: &Value, args: &ExposeArgs) -> anyhow::Result<Vec<Value>> {
    let known = known_ports(object);
    let protocol = |port: u16| {
        let same = known.iter().find(|(number, _)| *number == port).map(|(_, protocol)| protocol.clone());
        args.protocol.clone().or(same).unwrap_or_else(|| "TCP".to_owned())
    };
    let numbers: Vec<u16> =
        if args.port.is_empty() { known.iter().map(|(port, _)| *port).collect() } else { args.port.clone() };
    if numbers.is_empty() {
        bail!("couldn't find port via --port flag or introspection");
    }
    let several = numbers.len() > 1;
    let one = |(at, port): (usize, &u16)| {
        let target = args.target_port.as_deref().map_or_else(|| (*port).into(), int_or_string);
        let made = json!({"port": port, "protocol": protocol(*port), "targetPort": target});
        if several { with(made, "name", format!("port-{}", at + 1).into()) } else { made }
    };
    Ok(numbers.iter().enumerate().map(one).collect())
}

/// The ports that an object's containers, or a service, name; each with its protocol.
fn known_ports(object: &Value) -> Vec<(u16, String)> {
    let list = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_array).cloned();
    let containers = list(object, "/spec/containers").or_else(|| list(object, "/spec/template/spec/containers"));
    let of_containers = containers.into_iter().flatten().filter_map(|container| list(&container, "/ports")).flatten();
    let of_service = list(object, "/spec/ports").into_iter().flatten();
    let one = |port: Value| {
        let number = port.get("containerPort").or_else(|| port.get("port")).and_then(Value::as_u64)?;
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        Some((u16::try_from(number).ok()?, protocol.to_owned()))
    };
    of_containers.chain(of_service).filter_map(one).collect()
}

/// `create ingress`.
pub fn ingress(args: &IngressArgs) -> anyhow::Result<Value> {
    let mut spec = json!({});
    if let Some(class) = &args.class {
        spec = with(spec, "ingressClassName", class.as_str().into());
    }
    if let Some(default) = &args.default_backend {
        spec = with(spec, "defaultBackend", backend(default)?);
    }
    let rules = args.rules.iter().map(|rule| Rule::parse(rule)).collect::<anyhow::Result<Vec<_>>>()?;
    for (field, list) in [("rules", hosts(&rules)), ("tls", certificates(&rules))] {
        if !list.is_empty() {
            spec = with(spec, field, list.into());
        }
    }
    let mut made = object("networking.k8s.io/v1", "Ingress", &args.name);
    if !args.annotations.is_empty() {
        let metadata = json!({"name": args.name, "annotations": map(&args.annotations)});
        made = with(made, "metadata", metadata);
    }
    Ok(with(made, "spec", spec))
}

/// `HOST/PATH=SERVICE:PORT[,tls[=SECRET]]`.
struct Rule<'a> {
    host: &'a str,
    path: Value,
    /// The secret; empty for whatever fits.
    tls: Option<&'a str>,
}

impl<'a> Rule<'a> {
    fn parse(text: &'a str) -> anyhow::Result<Self> {
        let wrong = || format!("\"{text}\" is not HOST/PATH=SERVICE:PORT[,tls[=SECRET]]");
        let (place, target) = text.split_once('=').with_context(wrong)?;
        let (host, path) = place.split_at(place.find('/').with_context(wrong)?);
        let (service, tls) = match target.split_once(',') {
            None => (target, None),
            Some((service, "tls")) => (service, Some("")),
            Some((service, tls)) => (service, Some(tls.strip_prefix("tls=").with_context(wrong)?)),
        };
        let (path, kind) = path.strip_suffix('*').map_or((path, "Exact"), |path| (path, "Prefix"));
        let path = json!({"path": path, "pathType": kind, "backend": backend(service).with_context(wrong)?});
        Ok(Self { host, path, tls })
    }
}

fn backend(text: &str) -> anyhow::Result<Value> {
    let (name, port) = text.split_once(':').with_context(|| format!("\"{text}\" is not SERVICE:PORT"))?;
    let port = int_or_string(port);
    let key = if port.is_u64() { "number" } else { "name" };
    Ok(json!({"service": {"name": name, "port": {key: port}}}))
}

/// The rules, those of one host together.
fn hosts(rules: &[Rule<'_>]) -> Vec<Value> {
    let mut hosts: Vec<(&str, Vec<Value>)> = Vec::new();
    for Rule { host, path, .. } in rules {
        match hosts.iter_mut().find(|(known, _)| known == host) {
            Some((_, paths)) => paths.push(path.clone()),
            None => hosts.push((host, vec![path.clone()])),
        }
    }
    let one = |(host, paths): (&str, Vec<Value>)| {
        let rule = json!({"http": {"paths": paths}});
        if host.is_empty() { rule } else { with(rule, "host", host.into()) }
    };
    hosts.into_iter().map(one).collect()
}

/// The certificates, those of one secret together.
fn certificates(rules: &[Rule<'_>]) -> Vec<Value> {
    let mut secrets: Vec<(&str, Vec<&str>)> = Vec::new();
    for (host, secret) in rules.iter().filter_map(|rule| Some((rule.host, rule.tls?))) {
        match secrets.iter_mut().find(|(known, _)| *known == secret) {
            Some((_, hosts)) if hosts.contains(&host) => {}
            Some((_, hosts)) => hosts.push(host),
            None => secrets.push((secret, vec![host])),
        }
    }
    let one = |(secret, hosts): (&str, Vec<&str>)| {
        let tls = json!({"hosts": hosts.into_iter().filter(|host| !host.is_empty()).collect::<Vec<_>>()});
        if secret.is_empty() { tls } else { with(tls, "secretName", secret.into()) }
    };
    secrets.into_iter().map(one).collect()
}
