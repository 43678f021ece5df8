//! Environment variables of Services: `NAME_SERVICE_HOST` and what belongs to it, as Docker links had them.

use imbl::OrdMap;
use wherry_api::ObjectKey;
use wherry_api::kinds::Service;
use wherry_client::Projection;

/// A Service, reduced to what variables tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRow {
    address: Option<Box<str>>,
    /// Name, number and protocol of each port.
    ports: Vec<(Box<str>, i32, Box<str>)>,
}

impl Projection<Service> for ServiceRow {
    fn project(object: Service) -> Self {
        let spec = object.spec.unwrap_or_default();
        let address = spec.cluster_ip.filter(|ip| !ip.is_empty() && ip != "None");
        let ports = spec.ports.unwrap_or_default().into_iter().map(|port| {
            let protocol = port.protocol.unwrap_or_else(|| "TCP".into());
            (port.name.unwrap_or_default().into(), port.port, protocol.into())
        });
        Self { address: address.map(Into::into), ports: ports.collect() }
    }
}

/// The variables for a pod of `namespace`: those of `kubernetes`, and with `links` those of the namespace's Services.
pub fn variables(services: &OrdMap<ObjectKey, ServiceRow>, namespace: &str, links: bool) -> Vec<(String, String)> {
    let kubernetes = ObjectKey::new("default", "kubernetes");
    let mut variables = Vec::new();
    if let Some(row) = services.get(&kubernetes) {
        add(&mut variables, &kubernetes.name, row);
    }
    if links {
        let from = ObjectKey::new(namespace, "");
        let own = services.range(from..).take_while(|(key, _)| *key.namespace == *namespace);
        own.filter(|(key, _)| **key != kubernetes).for_each(|(key, row)| add(&mut variables, &key.name, row));
    }
    variables
}

fn add(variables: &mut Vec<(String, String)>, name: &str, row: &ServiceRow) {
    let (Some(address), Some((_, first, first_protocol))) = (&row.address, row.ports.first()) else { return };
    let name = upper(name);
    let mut set = |suffix: &str, value: String| variables.push((format!("{name}_{suffix}"), value));
    set("SERVICE_HOST", address.to_string());
    set("SERVICE_PORT", first.to_string());
    for (port, number, _) in row.ports.iter().filter(|(port, ..)| !port.is_empty()) {
        set(&format!("SERVICE_PORT_{}", upper(port)), number.to_string());
    }
    set("PORT", format!("{}://{address}:{first}", first_protocol.to_lowercase()));
    for (_, number, protocol) in &row.ports {
        let stem = format!("PORT_{number}_{protocol}");
        let lower = protocol.to_lowercase();
        set(&stem, format!("{lower}://{address}:{number}"));
        set(&format!("{stem}_PROTO"), lower);
        set(&format!("{stem}_PORT"), number.to_string());
        set(&format!("{stem}_ADDR"), address.to_string());
    }
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
