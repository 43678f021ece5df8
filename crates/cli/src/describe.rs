//! `describe`: objects in full, for a person to read, and what happened to them.
//!
//! Kinds that people look at most have a page of their own, as kubectl has; the others are shown field by field. Values of
//! Secrets are never shown.

mod network;
mod node;
mod page;
mod pod;
mod workload;

use serde_json::Value;
use wherry_api::Resource;
use wherry_api::kinds::{Event, Kind};
use wherry_client::{Client, ListOptions};

use crate::args::DescribeArgs;
use crate::events;
use crate::grid::Grid;
use crate::objects::{Objects, select, text};
use page::Page;
pub use pod::template;

/// Bookkeeping that tells a person nothing.
const HIDDEN: [&str; 6] = ["apiVersion", "kind", "metadata", "managedFields", "observedGeneration", "uid"];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Prints the objects and their events.
pub async fn run(args: DescribeArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let options = ListOptions { labels: args.selector.clone(), ..ListOptions::default() };
    let found = select(&client, &args.what, args.cluster.scope(args.all_namespaces), &options).await?;
    if found.is_empty() {
        eprintln!("No resources found.");
    }
    for (at, (resource, object)) in found.iter().enumerate() {
        if at > 0 {
            sayln!("\n");
        }
        let mut page = head(resource, object);
        body(&client, resource, object, &mut page).await?;
        say!("{page}");
        print_events(&client, object).await?;
    }
    Ok(())
}

/// What every kind has.
fn head(resource: &Resource, object: &Value) -> Page {
    let mut page = Page::default();
    page.row("Name", text(object, "/metadata/name"));
    if resource.namespaced {
        page.row("Namespace", text(object, "/metadata/namespace"));
    }
    page.pairs("Labels", object.pointer("/metadata/labels"), &[]);
    page.pairs("Annotations", object.pointer("/metadata/annotations"), &[LAST_APPLIED]);
    page.row("Created", text(object, "/metadata/creationTimestamp"));
    if let Some(owner) = object.pointer("/metadata/ownerReferences/0") {
        page.row("Controlled By", format!("{}/{}", text(owner, "/kind"), text(owner, "/name")));
    }
    if let Some(deleted) = object.pointer("/metadata/deletionTimestamp").and_then(Value::as_str) {
        page.row("Terminating", format!("until {deleted}"));
    }
    page
}

async fn body(client: &Client, resource: &Resource, object: &Value, page: &mut Page) -> anyhow::Result<()> {
    match resource.kind {
        "Pod" => pod::page(object, page),
        "Deployment" => workload::deployment(client, object, page).await?,
        "ReplicaSet" => workload::replica_set(object, page),
        "Service" => network::service(client, object, page).await?,
        "Ingress" => network::ingress(object, page),
        "Node" => node::page(client, object, page).await?,
        "Secret" => secret(object, page),
        "ConfigMap" => config_map(object, page),
        _ => page.fields(object, &HIDDEN),
    }
    Ok(())
}

/// Names and sizes only.
fn secret(object: &Value, page: &mut Page) {
    page.row("Type", text(object, "/type"));
    page.title("Data");
    page.inside(|page| {
        for (key, value) in object.pointer("/data").and_then(Value::as_object).into_iter().flatten() {
            let base64 = value.as_str().unwrap_or_default();
            let bytes = base64.trim_end_matches('=').len() * 3 / 4;
            page.row(key, format!("{bytes} bytes"));
        }
    });
}

fn config_map(object: &Value, page: &mut Page) {
    page.title("Data");
    page.inside(|page| {
        for (key, value) in object.pointer("/data").and_then(Value::as_object).into_iter().flatten() {
            page.block(key, value.as_str().unwrap_or_default());
        }
        for (key, value) in object.pointer("/binaryData").and_then(Value::as_object).into_iter().flatten() {
            let bytes = value.as_str().unwrap_or_default().trim_end_matches('=').len() * 3 / 4;
            page.row(key, format!("{bytes} bytes"));
        }
    });
}

async fn print_events(client: &Client, object: &Value) -> anyhow::Result<()> {
    let namespace = Some(text(object, "/metadata/namespace")).filter(|namespace| !namespace.is_empty());
    let fields = match text(object, "/kind") {
        // A node's events name it instead of its uid.
        "Node" => format!("involvedObject.kind=Node,involvedObject.name={}", text(object, "/metadata/name")),
        _ => format!("involvedObject.uid={}", text(object, "/metadata/uid")),
    };
    let objects = Objects::new(client, Event::resource(), namespace);
    let mut found = objects.list(ListOptions { fields, ..ListOptions::default() }).await?;
    if found.is_empty() {
        sayln!("Events: <none>");
        return Ok(());
    }
    found.sort_by(|a, b| events::when(a).cmp(events::when(b)));
    let mut grid = Grid::new(["  Type", "Reason", "Age", "From", "Message"]);
    for event in &found {
        let from = ["/source/component", "/reportingComponent"].map(|pointer| text(event, pointer));
        let from = from.into_iter().find(|from| !from.is_empty()).unwrap_or_default();
        let (kind, age) = (format!("  {}", text(event, "/type")), events::age(event));
        grid.add([&kind, text(event, "/reason"), &age, from, text(event, "/message").trim()]);
    }
    say!("Events:\n{grid}");
    Ok(())
}
