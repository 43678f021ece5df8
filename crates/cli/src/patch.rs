//! `patch`: fields of one object, by any of the three kinds of patch.

use anyhow::{Context, bail};
use wherry_api::yaml;
use wherry_client::PatchKind;

use crate::args::{PatchArgs, PatchType};
use crate::objects::{Objects, one_target, singular, text};

/// Changes the object.
pub async fn run(args: PatchArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let (resource, name) = one_target(&args.what)?;
    let documents = yaml::parse(&args.patch).context("the patch is neither JSON nor YAML")?;
    let [patch] = documents.as_slice() else { bail!("the patch is not one document") };
    let kind = match args.kind {
        PatchType::Strategic => PatchKind::Strategic,
        PatchType::Merge => PatchKind::Merge,
        PatchType::Json => PatchKind::Json,
    };
    let shown = format!("{}/{name}", singular(resource));
    let objects = Objects::new(&client, resource, Some(&args.cluster.namespace));
    let before = objects.get(&name).await.with_context(|| format!("cannot read {shown}"))?;
    let after = objects.patch(&name, kind, patch).await.with_context(|| format!("cannot patch {shown}"))?;
    let version = "/metadata/resourceVersion";
    let unchanged = text(&before, version) == text(&after, version);
    sayln!("{shown} patched{}", if unchanged { " (no change)" } else { "" });
    Ok(())
}
