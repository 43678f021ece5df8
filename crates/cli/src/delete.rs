//! `delete`: objects by name or by manifest.

use anyhow::{Context, bail};
use wherry_api::Resource;
use wherry_client::{Client, DeleteOptions};

use crate::apply::{identify, read_manifests, singular};
use crate::args::DeleteArgs;
use crate::objects::{Objects, targets, text};

/// Deletes and prints a line for each object.
pub async fn run(args: DeleteArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    if args.files.is_empty() && args.what.is_empty() {
        bail!("name objects, as RESOURCE NAME or RESOURCE/NAME, or manifests with -f");
    }
    for (resource, name, namespace) in wanted(&args)? {
        delete_one(&client, resource, &name, &namespace, args.grace_period).await?;
        println!("{} \"{name}\" deleted", singular(resource));
    }
    Ok(())
}

async fn delete_one(
    client: &Client,
    resource: &'static Resource,
    name: &str,
    namespace: &str,
    grace_period_seconds: Option<i64>,
) -> anyhow::Result<()> {
    let options = DeleteOptions { grace_period_seconds, ..DeleteOptions::default() };
    let objects = Objects::new(client, resource, Some(namespace));
    objects.delete(name, options).await.with_context(|| format!("cannot delete {}/{name}", singular(resource)))
}

fn wanted(args: &DeleteArgs) -> anyhow::Result<Vec<(&'static Resource, String, String)>> {
    let default = &args.cluster.namespace;
    if args.files.is_empty() {
        let named = targets(&args.what)?.into_iter().map(|target| {
            let name = target.name.with_context(|| format!("name the {} to delete", target.resource.plural))?;
            Ok((target.resource, name, default.clone()))
        });
        return named.collect();
    }
    let objects = read_manifests(&args.files)?;
    let each = objects.iter().rev().map(|object| {
        let (resource, name) = identify(object)?;
        let own = text(object, "/metadata/namespace");
        Ok((resource, name.to_owned(), if own.is_empty() { default.clone() } else { own.to_owned() }))
    });
    each.collect()
}
