//! `image`: modules into, and out of, the cluster's own registry. A file is checked before it is sent.

use std::path::Path;

use anyhow::Context;
use wherry_api::kinds::ConfigMap;
use wherry_api::well_known::CLUSTER_INFO;
use wherry_client::{Client, Https};
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
    open(registry).await?.push(&reference, module.into()).await?;
    sayln!("{reference} loaded ({:?})", inspected.kind);
    Ok(())
}

async fn list(registry: &RegistryArgs) -> anyhow::Result<()> {
    let mut grid = Grid::new(["IMAGE", "DIGEST"]);
    for image in open(registry).await?.list().await? {
        grid.add([image.name, image.digest]);
    }
    say!("{grid}");
    Ok(())
}

async fn remove(name: &str, registry: &RegistryArgs) -> anyhow::Result<()> {
    let reference: Reference = name.parse()?;
    open(registry).await?.remove(&reference).await.with_context(|| format!("cannot remove {reference}"))?;
    sayln!("{reference} removed");
    Ok(())
}

/// The registry takes the same certificates as the API.
async fn open(args: &RegistryArgs) -> anyhow::Result<RegistryClient> {
    let mut kubeconfig = args.cluster.load()?;
    let address = match &args.registry {
        Some(address) => address.clone(),
        None => told(&args.cluster.client()?).await?,
    };
    kubeconfig.servers = vec![format!("https://{address}")];
    Ok(RegistryClient::new(Https::new(&kubeconfig)?))
}

/// Where the cluster says that its registry is.
async fn told(client: &Client) -> anyhow::Result<String> {
    let info = client.namespaced::<ConfigMap>(CLUSTER_INFO.0).get(CLUSTER_INFO.1).await?;
    let registry = info.data.and_then(|mut data| data.remove("registry"));
    registry.context("the cluster does not say where its image registry is; use --registry")
}
