//! Objects out of a few words, the same ones that kubectl makes of them: arguments in, JSON out.

mod data;
mod network;
#[cfg(test)]
mod tests;
mod workload;

use serde_json::{Map, Value, json};

use crate::args::{Generator, SecretKind};

pub use network::exposed;
pub use workload::pod;

/// The object that the words describe; reads the files that they name.
pub fn generate(what: &Generator) -> anyhow::Result<Value> {
    Ok(match what {
        Generator::Deployment(args) => workload::deployment(args)?,
        Generator::Configmap(args) => data::config_map(&args.name, data::entries(args)?),
        Generator::Secret(SecretKind::Generic { data, kind }) => {
            data::secret(&data.name, kind.as_deref(), data::entries(data)?)
        }
        Generator::Secret(SecretKind::Tls { name, cert, key }) => data::tls_secret(name, cert, key)?,
        Generator::Namespace { name } => object("v1", "Namespace", name),
        Generator::Serviceaccount { name } => object("v1", "ServiceAccount", name),
        Generator::Service(kind) => network::service(kind)?,
        Generator::Ingress(args) => network::ingress(args)?,
    })
}

fn object(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}})
}

/// The same object with a field more.
fn with(mut object: Value, field: &str, value: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.insert(field.to_owned(), value);
    }
    object
}

fn labelled(api_version: &str, kind: &str, name: &str, labels: Map<String, Value>) -> Value {
    let metadata = json!({"name": name, "labels": labels});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
}

fn map(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()
}

/// A port by its number or its name.
fn int_or_string(port: &str) -> Value {
    port.parse::<u16>().map_or_else(|_| port.into(), Value::from)
}
