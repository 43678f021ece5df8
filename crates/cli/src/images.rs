//! `image`: modules and Linux images into, and out of, the cluster's own registry. A file is checked before it is sent.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use wherry_client::Https;
use wherry_image::{Blob, Reference, RegistryClient, Saved, inspect};

use crate::args::{ImageVerb, RegistryArgs};
use crate::grid::Grid;
use crate::layer::Layer;

/// With what every module begins.
const WASM_MAGIC: &[u8; 4] = b"\0asm";
/// An archive has two blocks at least.
const ARCHIVE_BYTES_MIN: u64 = 1024;

/// Carries out a verb.
pub async fn run(verb: ImageVerb) -> anyhow::Result<()> {
    match verb {
        ImageVerb::Load { file, name, registry } => load(&file, &name, &registry).await,
        ImageVerb::Ls { registry } => list(&registry).await,
        ImageVerb::Rm { name, registry } => remove(&name, &registry).await,
    }
}

async fn load(file: &Path, name: &str, registry: &RegistryArgs) -> anyhow::Result<()> {
    let reference = own_name(name)?;
    let mut opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut magic = [0; WASM_MAGIC.len()];
    let is_module = opened.read(&mut magic)? < magic.len() || magic == *WASM_MAGIC;
    let is_archive = !is_module && file.metadata()?.len() >= ARCHIVE_BYTES_MIN;
    if is_archive {
        load_archive(file, opened, &reference, registry).await
    } else {
        load_module(file, &reference, registry).await
    }
}

async fn load_module(file: &Path, reference: &Reference, registry: &RegistryArgs) -> anyhow::Result<()> {
    let module = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let inspected = inspect(&module).with_context(|| format!("{} cannot run here", file.display()))?;
    open(registry)?.push(reference, module.into()).await?;
    sayln!("{reference} loaded ({:?})", inspected.kind);
    Ok(())
}

/// A Linux image, as `docker save` writes it.
async fn load_archive(
    file: &Path,
    mut opened: File,
    reference: &Reference,
    registry: &RegistryArgs,
) -> anyhow::Result<()> {
    let saved = Saved::read(&mut opened).with_context(|| format!("{} is no image", file.display()))?;
    let layers = saved.layers.iter().map(|&place| Layer::of(file, place)).collect::<std::io::Result<Vec<_>>>()?;
    let digests: Vec<_> = layers.iter().map(|layer| layer.digest().to_owned()).collect();
    open(registry)?.push_linux(reference, &saved.image(&digests), saved.config.clone(), layers).await?;
    sayln!("{reference} loaded (Linux image, {} layers)", digests.len());
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
    let reference = own_name(name)?;
    open(registry)?.remove(&reference).await.with_context(|| format!("cannot remove {reference}"))?;
    sayln!("{reference} removed");
    Ok(())
}

/// A name in the cluster's registry: pods look for all others where their names say.
fn own_name(name: &str) -> anyhow::Result<Reference> {
    let reference: Reference = name.parse()?;
    let Reference { registry, repository, version } = &reference;
    if !registry.is_empty() {
        bail!("{name} is a name of the registry {registry}; in the cluster's it has none: {repository}:{version}");
    }
    Ok(reference)
}

/// The registry is where the API is, and takes the same certificates.
fn open(args: &RegistryArgs) -> anyhow::Result<RegistryClient> {
    let mut kubeconfig = args.cluster.load()?;
    if let Some(address) = &args.registry {
        kubeconfig.servers = vec![format!("https://{address}")];
    }
    Ok(RegistryClient::new(Arc::new(Https::new(&kubeconfig)?)))
}
