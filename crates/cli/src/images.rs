//! `image`: modules into, and out of, the cluster's own registry. A file is checked before it is sent.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use wherry_client::Https;
use wherry_image::{Reference, RegistryClient, inspect};

use crate::args::{ImageVerb, RegistryArgs};
use crate::grid::Grid;

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

/// The registry is where the API is, and takes the same certificates.
fn open(args: &RegistryArgs) -> anyhow::Result<RegistryClient> {
    let mut kubeconfig = args.cluster.load()?;
    if let Some(address) = &args.registry {
        kubeconfig.servers = vec![format!("https://{address}")];
    }
    Ok(RegistryClient::new(Arc::new(Https::new(&kubeconfig)?)))
}
