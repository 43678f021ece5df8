//! `scale`: the number of replicas, through the `scale` subresource.

use anyhow::Context;
use serde_json::json;

use crate::args::ScaleArgs;
use crate::objects::{Objects, one_target, singular};

/// Sets the number.
pub async fn run(args: ScaleArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let (resource, name) = one_target(&args.what)?;
    let objects = Objects::new(&client, resource, Some(&args.cluster.namespace));
    let patch = json!({"spec": {"replicas": args.replicas}});
    let scaled = objects.merge(&name, "scale", &patch).await;
    scaled.with_context(|| format!("cannot scale {}/{name}", singular(resource)))?;
    sayln!("{}/{name} scaled", singular(resource));
    Ok(())
}
