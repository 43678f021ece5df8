//! A module as an OCI artifact: one layer that is the module itself.
//!
//! Follows the CNCF TAG Runtime's guidance for wasm OCI artifacts.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

/// The manifest's media type.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The config's media type.
pub const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// The layer's media type.
pub const LAYER_TYPE: &str = "application/wasm";

/// A module with the manifest and config that make it an artifact.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The manifest, encoded.
    pub manifest: Bytes,
    /// The config, encoded.
    pub config: Bytes,
    /// The config's digest.
    pub config_digest: String,
    /// The module's digest.
    pub layer_digest: String,
}

impl Artifact {
    /// The artifact of a module.
    pub fn of(module: &[u8]) -> Self {
        let layer_digest = digest(module);
        let config = json!({"architecture": "wasm", "os": "wasip2", "layerDigests": [layer_digest]}).to_string();
        let config_digest = digest(config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": config_digest, "size": config.len()},
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer_digest, "size": module.len()}],
        });
        Self { manifest: manifest.to_string().into(), config: config.into(), config_digest, layer_digest }
    }

    /// The digest of the module that a manifest names; `None` where it names none.
    pub fn layer_of(manifest: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Manifest {
            layers: Vec<Layer>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Layer {
            media_type: String,
            digest: String,
        }
        let manifest: Manifest = serde_json::from_slice(manifest).ok()?;
        let is_module = |layer: &Layer| layer.media_type == LAYER_TYPE;
        manifest.layers.into_iter().find(is_module).map(|layer| layer.digest)
    }
}

/// `sha256:…` of bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_names_its_module() {
        let artifact = Artifact::of(b"module");
        assert_eq!(Artifact::layer_of(&artifact.manifest), Some(digest(b"module")));
        assert_eq!(Artifact::layer_of(b"{\"layers\":[{\"mediaType\":\"x\",\"digest\":\"y\"}]}"), None);
    }
}
