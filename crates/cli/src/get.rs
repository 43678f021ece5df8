//! `get`: a table made from the same columns as the server's, or the objects as they are.

use anyhow::Context;
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;
use serde_json::{Value, json};
use wherry_api::{Resource, table, yaml};
use wherry_client::ListOptions;

use crate::apply::singular;
use crate::args::{GetArgs, Output};
use crate::objects::{Objects, Target, targets, text};

/// Prints the objects.
pub async fn run(args: GetArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let namespace = (!args.all_namespaces).then_some(args.cluster.namespace.as_str());
    let named = matches!(targets(&args.what)?.as_slice(), [Target { name: Some(_), .. }]);
    for (resource, found) in gather(&args, &client, namespace).await? {
        match args.output {
            Output::Table | Output::Wide => print_table(resource, &found, args.output, args.all_namespaces),
            Output::Name => found.iter().for_each(|o| println!("{}/{}", singular(resource), text(o, "/metadata/name"))),
            Output::Yaml => print!("{}", yaml::print(&one_or_list(found, named))?),
            Output::Json => println!("{:#}", one_or_list(found, named)),
        }
    }
    Ok(())
}

async fn gather(
    args: &GetArgs,
    client: &wherry_client::Client,
    namespace: Option<&str>,
) -> anyhow::Result<Vec<(&'static Resource, Vec<Value>)>> {
    let mut gathered: Vec<(&'static Resource, Vec<Value>)> = Vec::new();
    for Target { resource, name } in targets(&args.what)? {
        let objects = Objects::new(client, resource, namespace);
        let found = match name {
            Some(name) => vec![objects.get(&name).await?],
            None => objects.list(options(args)).await?,
        };
        match gathered.last_mut() {
            Some((last, many)) if std::ptr::eq(*last, resource) => many.extend(found),
            _ => gathered.push((resource, found)),
        }
    }
    Ok(gathered)
}

fn options(args: &GetArgs) -> ListOptions {
    ListOptions { labels: args.selector.clone(), fields: args.field_selector.clone(), ..ListOptions::default() }
}

/// The one object that was named; a listing is a list whatever its length, as scripts expect.
fn one_or_list(mut found: Vec<Value>, named: bool) -> Value {
    match found.len() {
        1 if named => found.swap_remove(0),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": found}),
    }
}

fn print_table(resource: &'static Resource, found: &[Value], output: Output, namespaces: bool) {
    if found.is_empty() {
        eprintln!("No {} found.", resource.plural);
        return;
    }
    println!("{}", render(resource, found, output == Output::Wide, namespaces, now()));
}

fn render(resource: &'static Resource, found: &[Value], wide: bool, namespaces: bool, now: Timestamp) -> Table {
    let columns = table::columns(resource);
    let shown: Vec<usize> =
        (0..columns.len()).filter(|&i| columns.get(i).is_some_and(|c| wide || c.priority == 0)).collect();
    let mut printed = plain_table();
    let heading = namespaces.then(|| "NAMESPACE".to_owned());
    let names = shown.iter().filter_map(|&i| columns.get(i)).map(|c| c.name.to_uppercase());
    printed.set_header(heading.into_iter().chain(names).collect::<Vec<_>>());
    for object in found {
        let cells = table::cells(resource, object, now);
        let namespace = namespaces.then(|| text(object, "/metadata/namespace").to_owned());
        let row = shown.iter().map(|&i| cells.get(i).map(cell).unwrap_or_default());
        printed.add_row(namespace.into_iter().chain(row).collect::<Vec<_>>());
    }
    printed
}

/// A table without lines, as kubectl prints it.
pub fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The time against which ages are shown to a person.
#[expect(clippy::disallowed_methods, reason = "a command line's ages are for the person who runs it now")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// One object whole, or an error that names it.
pub async fn fetch(objects: &Objects, resource: &Resource, name: &str) -> anyhow::Result<Value> {
    objects.get(name).await.with_context(|| format!("cannot read {}/{name}", singular(resource)))
}
