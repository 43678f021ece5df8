//! `create`, `run` and `expose`: objects that were not there before, out of manifests or of a few words.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::apply::{read_manifests, row};
use crate::args::{CreateArgs, DryRun, ExposeArgs, MakeArgs, RunArgs};
use crate::generate::{exposed, generate, pod};
use crate::get::print_object;
use crate::objects::{Objects, one_target, singular, text};

/// Creates what manifests or words say.
pub async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let objects = match (&args.what, args.files.is_empty()) {
        (Some(what), true) => vec![generate(what)?],
        (None, false) => read_manifests(&args.files)?,
        _ => bail!("say what to create: a manifest with -f, or words such as `deployment NAME --image IMAGE`"),
    };
    make(&args.make, &objects, "created").await
}

/// Creates a pod.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    make(&args.make, &[pod(&args)], "created").await
}

/// Creates a service for the pods of an object.
pub async fn expose(args: ExposeArgs) -> anyhow::Result<()> {
    let cluster = &args.make.cluster;
    let (resource, name) = one_target(&args.what)?;
    let object = Objects::new(&cluster.client()?, resource, Some(&cluster.namespace)).get(&name).await?;
    make(&args.make, &[exposed(&object, &args)?], "exposed").await
}

async fn make(args: &MakeArgs, objects: &[Value], done: &str) -> anyhow::Result<()> {
    for object in objects {
        let resource = row(object)?;
        let (made, mark) = match args.dry_run {
            DryRun::Client => (object.clone(), " (dry run)"),
            DryRun::None => (send(args, object).await?, ""),
        };
        match &args.output {
            Some(output) => print_object(output, resource, &made)?,
            None => sayln!("{}/{} {done}{mark}", singular(resource), text(&made, "/metadata/name")),
        }
    }
    Ok(())
}

async fn send(args: &MakeArgs, object: &Value) -> anyhow::Result<Value> {
    let resource = row(object)?;
    let own = text(object, "/metadata/namespace");
    let namespace = if own.is_empty() { &args.cluster.namespace } else { own };
    let made = Objects::new(&args.cluster.client()?, resource, Some(namespace)).create(object).await;
    made.with_context(|| format!("cannot create {}/{}", singular(resource), text(object, "/metadata/name")))
}
