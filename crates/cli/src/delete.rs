//! `delete`: objects by name, label or manifest; waits until they are gone.

use std::time::Duration;

use anyhow::{Context, bail};
use wherry_api::{Error, Reason, Resource};
use wherry_client::{Client, DeleteOptions, ListOptions, Propagation};

use crate::apply::{identify, read_manifests};
use crate::args::{Cascade, DeleteArgs};
use crate::objects::{Objects, Target, singular, targets, text};
use crate::wait::within;

/// As good as forever, for `--timeout 0`.
const FOREVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// An object to delete.
struct Doomed {
    resource: &'static Resource,
    name: String,
    objects: Objects,
    /// Whether it may be gone already: it was found by a selector, or the person says so.
    may_be_gone: bool,
}

/// Deletes, prints a line for each object, and waits for their ends.
pub async fn run(args: DeleteArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    if args.files.is_empty() && args.what.is_empty() {
        bail!("name objects, as RESOURCE NAME or RESOURCE/NAME, or manifests with -f");
    }
    let doomed = wanted(&args, &client).await?;
    if doomed.is_empty() {
        eprintln!("No resources found");
    }
    let mut going = Vec::new();
    for one in doomed {
        going.extend(delete(&args, one).await?);
    }
    if !args.wait {
        return Ok(());
    }
    let most = if args.timeout.is_zero() { FOREVER } else { args.timeout };
    within(most, async {
        for (one, uid) in going {
            one.objects.until(&one.name, |object| object.is_none_or(|o| text(o, "/metadata/uid") != uid)).await?;
        }
        Ok(())
    })
    .await
}

/// Deletes one; its uid.
async fn delete(args: &DeleteArgs, one: Doomed) -> anyhow::Result<Option<(Doomed, String)>> {
    let named = format!("{} \"{}\"", singular(one.resource), one.name);
    let deleted = async {
        let found = one.objects.get(&one.name).await?;
        one.objects.delete(&one.name, options(args)).await?;
        Ok::<_, Error>(text(&found, "/metadata/uid").to_owned())
    };
    let uid = match deleted.await {
        Err(error) if one.may_be_gone && error.reason == Reason::NotFound => return Ok(None),
        deleted => deleted.with_context(|| format!("cannot delete {named}"))?,
    };
    sayln!("{named} {}", if args.force { "force deleted" } else { "deleted" });
    Ok(Some((one, uid)))
}

fn options(args: &DeleteArgs) -> DeleteOptions {
    let propagation = match args.cascade {
        Cascade::Background => Propagation::Background,
        Cascade::Foreground => Propagation::Foreground,
        Cascade::Orphan => Propagation::Orphan,
    };
    let grace_period_seconds = match (args.force, args.now) {
        (true, _) => Some(0),
        (_, true) => Some(1),
        _ => args.grace_period,
    };
    DeleteOptions { grace_period_seconds, propagation, ..DeleteOptions::default() }
}

async fn wanted(args: &DeleteArgs, client: &Client) -> anyhow::Result<Vec<Doomed>> {
    let default = &args.cluster.namespace;
    let doom = |resource, name: &str, namespace: &str| Doomed {
        resource,
        name: name.to_owned(),
        objects: Objects::new(client, resource, Some(namespace)),
        may_be_gone: args.ignore_not_found || args.all || !args.selector.is_empty(),
    };
    let mut doomed = Vec::new();
    if !args.files.is_empty() {
        for object in read_manifests(&args.files)?.iter().rev() {
            let (resource, name) = identify(object)?;
            let own = text(object, "/metadata/namespace");
            doomed.push(doom(resource, name, if own.is_empty() { default } else { own }));
        }
        return Ok(doomed);
    }
    for Target { resource, name } in targets(&args.what)? {
        match name {
            Some(name) => doomed.push(doom(resource, &name, default)),
            None if args.all || !args.selector.is_empty() => {
                let options = ListOptions { labels: args.selector.clone(), ..ListOptions::default() };
                let found = Objects::new(client, resource, Some(default)).list(options).await?;
                doomed.extend(found.iter().map(|object| doom(resource, text(object, "/metadata/name"), default)));
            }
            None => bail!("name the {} to delete, or say -l or --all", resource.plural),
        }
    }
    Ok(doomed)
}
