//! Which ConfigMaps and Secrets a pod refers to: what its node must read, and what a node may read at all.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EphemeralContainer, PodSpec, VolumeProjection};

/// Objects by name, of the namespace of who refers to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// ConfigMaps.
    pub config_maps: BTreeSet<String>,
    /// Secrets.
    pub secrets: BTreeSet<String>,
}

impl References {
    /// All that a pod refers to: in its volumes, in the environment of any of its containers, and to fetch its images.
    pub fn of_pod(spec: &PodSpec) -> Self {
        let mut all = Self::of_volumes(spec);
        all.secrets.extend(spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone()));
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            all.environment(container.env_from.as_deref(), container.env.as_deref());
        }
        for EphemeralContainer { env_from, env, .. } in spec.ephemeral_containers.iter().flatten() {
            all.environment(env_from.as_deref(), env.as_deref());
        }
        all
    }

    /// What a pod's volumes hold.
    pub fn of_volumes(spec: &PodSpec) -> Self {
        let mut all = Self::default();
        for volume in spec.volumes.iter().flatten() {
            all.config_maps.extend(volume.config_map.as_ref().map(|map| map.name.clone()));
            all.secrets.extend(volume.secret.as_ref().and_then(|secret| secret.secret_name.clone()));
            let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
            projected.for_each(|projection| all.projection(projection));
        }
        all
    }

    /// What a container's environment is made of.
    pub fn of_environment(container: &Container) -> Self {
        let mut all = Self::default();
        all.environment(container.env_from.as_deref(), container.env.as_deref());
        all
    }

    fn projection(&mut self, projection: &VolumeProjection) {
        self.config_maps.extend(projection.config_map.as_ref().map(|map| map.name.clone()));
        self.secrets.extend(projection.secret.as_ref().map(|secret| secret.name.clone()));
    }

    fn environment(&mut self, env_from: Option<&[EnvFromSource]>, env: Option<&[EnvVar]>) {
        for from in env_from.into_iter().flatten() {
            self.config_maps.extend(from.config_map_ref.as_ref().map(|from| from.name.clone()));
            self.secrets.extend(from.secret_ref.as_ref().map(|from| from.name.clone()));
        }
        for source in env.into_iter().flatten().filter_map(|var| var.value_from.as_ref()) {
            self.config_maps.extend(source.config_map_key_ref.as_ref().map(|from| from.name.clone()));
            self.secrets.extend(source.secret_key_ref.as_ref().map(|from| from.name.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_names_an_object_counts() {
        let spec = r#"{
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "i"}}, {"configMapRef": {"name": "i"}}]}],
            "containers": [{"name": "c", "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "c", "key": "k"}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
            ]}],
            "ephemeralContainers": [{"name": "e", "envFrom": [{"secretRef": {"name": "e"}}]}],
            "volumes": [
                {"name": "s", "secret": {"secretName": "vs"}}, {"name": "m", "configMap": {"name": "vm"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "ps"}}, {"configMap": {"name": "pm"}}]}},
                {"name": "e", "emptyDir": {}}
            ]
        }"#;
        let spec: PodSpec = serde_json::from_str(spec).unwrap();
        let words = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
        let check = |found: &References, maps: &str, secrets: &str| {
            assert_eq!((words(&found.config_maps), words(&found.secrets)), (maps.to_owned(), secrets.to_owned()));
        };
        check(&References::of_pod(&spec), "c i pm vm", "c e i ps pull vs");
        check(&References::of_volumes(&spec), "pm vm", "ps vs");
        check(&References::of_environment(&spec.containers[0]), "c", "c");
    }
}
