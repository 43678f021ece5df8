//! `image`: modules into, and out of, the cluster's own registry. A file is checked before it is sent.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use wherry_client::Https;
use wherry_image::{Reference, RegistryClient, inspect};

use crate::args::{ImageVerb, RegistryArgs, default_data_dir};
use crate::grid::Grid;

const REGISTRY_PORT_DEFAULT: u16 = 5000;

/// Carries out a verb.
pub async fn run(verb: ImageVerb) -> anyhow::Result<()> {
    match verb {
        ImageVerb::Load { file, name, registry } => load(&file, &name, &registry).await,
        ImageVerb::Ls { registry } => list(&registry).await,
        ImageVerb::Rm { name, registry } => remove(&name, &registry).await,
    }
}

async fn load(file: &Path, name: &str, registry: &RegistryArgs) -> anyhow::Result<()> {
    let reference: Reference = name.parse()?;
    let module = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let inspected = inspect(&module).with_context(|| format!("{} cannot run here", file.display()))?;
    open(registry)?.push(&reference, module.into()).await?;
    sayln!("{reference} loaded ({:?})", inspected.kind);
    Ok(())
}

async fn list(registry: &RegistryArgs) -> anyhow::Result<()> {
    let mut grid = Grid::new(["IMAGE", "DIGEST"]);
    for image in open(registry)?.list().await? {
        grid.add([image.name, image.digest]);
    }
    say!("{grid}");
    Ok(())
}

async fn remove(name: &str, registry: &RegistryArgs) -> anyhow::Result<()> {
    let reference: Reference = name.parse()?;
    open(registry)?.remove(&reference).await.with_context(|| format!("cannot remove {reference}"))?;
    sayln!("{reference} removed");
    Ok(())
}

/// The registry runs beside the API, with the same certificates.
fn open(args: &RegistryArgs) -> anyhow::Result<RegistryClient> {
    let mut kubeconfig = args.cluster.load()?;
    kubeconfig.server = match &args.registry {
        Some(address) => format!("https://{address}"),
        None => {
            let host = kubeconfig.server.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or_default();
            format!("{host}:{}", port(args))
        }
    };
    Ok(RegistryClient::new(Https::new(&kubeconfig)?))
}

/// What `ports.json` beside the kubeconfig says.
fn port(args: &RegistryArgs) -> u16 {
    #[derive(Deserialize)]
    struct Ports {
        registry: u16,
    }
    let kubeconfig = args.cluster.kubeconfig.clone().unwrap_or_else(|| default_data_dir().join("kubeconfig"));
    let text = std::fs::read_to_string(kubeconfig.with_file_name("ports.json")).ok();
    text.and_then(|text| serde_json::from_str::<Ports>(&text).ok())
        .map_or(REGISTRY_PORT_DEFAULT, |ports| ports.registry)
}
