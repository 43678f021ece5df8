//! A container's environment, command and arguments, as a kubelet makes them. Pure: what it needs was fetched before.

mod expand;

pub use expand::expand;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapKeySelector, Container, EnvFromSource, EnvVar, EnvVarSource, SecretKeySelector,
};

use crate::downward::{self, Facts};
use crate::objects::Found;

/// Why a container cannot be configured: the message of its `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An object or key that does not exist.
    #[error("{kind} \"{name}\" not found")]
    Missing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A key that does not exist.
    #[error("couldn't find key {key} in {kind} {place}")]
    MissingKey {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// `namespace/name`.
        place: String,
    },
    /// A field or resource that there is not.
    #[error("{0}")]
    Field(String),
}

/// A container's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// `command`, expanded.
    pub command: Vec<String>,
    /// `args`, expanded.
    pub args: Vec<String>,
    /// The environment, each name once.
    pub env: Vec<(String, String)>,
}

/// A container's words; `given` are the variables of Services and of the runtime, which all others override.
pub fn words(
    container: &Container,
    facts: &Facts<'_>,
    found: &Found,
    given: Vec<(String, String)>,
) -> Result<Words, ConfigError> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    let sources = Sources { facts, found, container, namespace };
    let mut env = Env::default();
    given.into_iter().for_each(|(name, value)| env.set(name, value));
    for from in container.env_from.iter().flatten() {
        sources.all(from, &mut env)?;
    }
    for var in container.env.iter().flatten() {
        if let Some(value) = sources.value(var, &env)? {
            env.set(var.name.clone(), value);
        }
    }
    let words = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expand(word, |name| env.get(name))).collect()
    };
    Ok(Words { command: words(&container.command), args: words(&container.args), env: env.list })
}

#[derive(Default)]
struct Env {
    list: Vec<(String, String)>,
    places: BTreeMap<String, usize>,
}

impl Env {
    fn set(&mut self, name: String, value: String) {
        match self.places.get(&name).and_then(|place| self.list.get_mut(*place)) {
            Some((_, old)) => *old = value,
            None => {
                self.places.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.list.get(*self.places.get(name)?).map(|(_, value)| value.as_str())
    }
}

struct Sources<'a> {
    facts: &'a Facts<'a>,
    found: &'a Found,
    container: &'a Container,
    namespace: &'a str,
}

impl Sources<'_> {
    fn all(&self, from: &EnvFromSource, env: &mut Env) -> Result<(), ConfigError> {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(source) = &from.config_map_ref {
            match self.found.config_maps.get(&source.name) {
                Some(map) => map.data.iter().flatten().for_each(|(k, v)| env.set(format!("{prefix}{k}"), v.clone())),
                None if source.optional == Some(true) => {}
                None => return Err(ConfigError::Missing { kind: "configmap", name: source.name.clone() }),
            }
        }
        if let Some(source) = &from.secret_ref {
            match self.found.secrets.get(&source.name) {
                Some(secret) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    secret.data.iter().flatten().for_each(|(k, v)| env.set(format!("{prefix}{k}"), text(&v.0)));
                }
                None if source.optional == Some(true) => {}
                None => return Err(ConfigError::Missing { kind: "secret", name: source.name.clone() }),
            }
        }
        Ok(())
    }

    fn value(&self, var: &EnvVar, env: &Env) -> Result<Option<String>, ConfigError> {
        match &var.value_from {
            None => Ok(Some(expand(var.value.as_deref().unwrap_or_default(), |name| env.get(name)))),
            Some(source) => self.from(source),
        }
    }

    fn from(&self, source: &EnvVarSource) -> Result<Option<String>, ConfigError> {
        if let Some(key) = &source.config_map_key_ref {
            self.config_map(key)
        } else if let Some(key) = &source.secret_key_ref {
            self.secret(key)
        } else if let Some(field) = &source.field_ref {
            downward::field(self.facts, &field.field_path).map(Some).map_err(ConfigError::Field)
        } else if let Some(resource) = &source.resource_field_ref {
            downward::resource(self.facts, Some(self.container), resource).map(Some).map_err(ConfigError::Field)
        } else {
            Err(ConfigError::Field("valueFrom names no source that is supported".into()))
        }
    }

    fn config_map(&self, key: &ConfigMapKeySelector) -> Result<Option<String>, ConfigError> {
        let map = self.found.config_maps.get(&key.name);
        let value = map.and_then(|map| map.data.as_ref()?.get(&key.key).cloned());
        self.required(value, map.is_some(), key.optional, ("configmap", "ConfigMap"), &key.name, &key.key)
    }

    fn secret(&self, key: &SecretKeySelector) -> Result<Option<String>, ConfigError> {
        let secret = self.found.secrets.get(&key.name);
        let bytes = secret.and_then(|secret| secret.data.as_ref()?.get(&key.key));
        let value = bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        self.required(value, secret.is_some(), key.optional, ("secret", "Secret"), &key.name, &key.key)
    }

    fn required(
        &self,
        value: Option<String>,
        there: bool,
        optional: Option<bool>,
        (word, kind): (&'static str, &'static str),
        name: &str,
        key: &str,
    ) -> Result<Option<String>, ConfigError> {
        match value {
            Some(value) => Ok(Some(value)),
            None if optional == Some(true) => Ok(None),
            None if there => {
                Err(ConfigError::MissingKey { key: key.into(), kind, place: format!("{}/{name}", self.namespace) })
            }
            None => Err(ConfigError::Missing { kind: word, name: name.into() }),
        }
    }
}

#[cfg(test)]
mod tests;
