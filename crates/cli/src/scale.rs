//! `scale`: the number of replicas, through the `scale` subresource.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::args::ScaleArgs;
use crate::change::pin;
use crate::objects::{Objects, one_target, singular, text};

/// Sets the number.
pub async fn run(args: ScaleArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let (resource, name) = one_target(&args.what)?;
    let objects = Objects::new(&client, resource, Some(&args.cluster.namespace));
    let mut patch = json!({"spec": {"replicas": args.replicas}});
    if let Some(expected) = args.current_replicas {
        let present = objects.get(&name).await?;
        let replicas = present.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or_default();
        if replicas != u64::from(expected) {
            bail!("Expected replicas to be {expected}, was {replicas}");
        }
        pin(&mut patch, text(&present, "/metadata/resourceVersion"));
    }
    let scaled = objects.merge(&name, "scale", &patch).await;
    scaled.with_context(|| format!("cannot scale {}/{name}", singular(resource)))?;
    sayln!("{}/{name} scaled", singular(resource));
    Ok(())
}
