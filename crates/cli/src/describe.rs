//! `describe`: one object as YAML without the server's bookkeeping, and what happened to it.

use serde_json::Value;
use wherry_api::kinds::{Event, Kind};
use wherry_api::yaml;
use wherry_client::ListOptions;

use crate::args::DescribeArgs;
use crate::events::print_events;
use crate::get::fetch;
use crate::objects::{Objects, one_target, text};

/// Prints the object and its events.
pub async fn run(args: DescribeArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let (resource, name) = one_target(&args.what)?;
    let namespace = resource.namespaced.then_some(args.cluster.namespace.as_str());
    let mut object = fetch(&Objects::new(&client, resource, namespace), resource, &name).await?;
    let uid = text(&object, "/metadata/uid").to_owned();
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    print!("{}", yaml::print(&object)?);
    let fields = format!("involvedObject.uid={uid}");
    let events = Objects::new(&client, Event::resource(), namespace);
    let found = events.list(ListOptions { fields, ..ListOptions::default() }).await?;
    println!("---\nEvents:");
    print_events(found, false);
    Ok(())
}
