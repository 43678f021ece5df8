//! `get`: a table made from the same columns as the server's, or the objects as they are; `-w` goes on with what changes.

use anyhow::{Context, bail};
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use wherry_api::{Reason, Resource, table, yaml};
use wherry_client::{Client, ListOptions, WatchOptions};

use crate::args::{GetArgs, Output};
use crate::grid::Grid;
use crate::objects::{Objects, Target, shown, singular, targets, text};
use crate::template::{Path, plain};

type Found = Vec<(&'static Resource, Vec<Value>)>;

/// Prints the objects.
pub async fn run(args: GetArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    if args.watch {
        return watch(&args, &client).await;
    }
    let mut found = gather(&args, &client).await?;
    if let Some(path) = &args.sort_by {
        found.iter_mut().for_each(|(_, objects)| sort(objects, path));
    }
    let named = matches!(targets(&args.what)?.as_slice(), [Target { name: Some(_), .. }]);
    print(&args, found, named)
}

async fn gather(args: &GetArgs, client: &Client) -> anyhow::Result<Found> {
    let mut gathered = Found::new();
    for Target { resource, name } in targets(&args.what)? {
        let objects = Objects::new(client, resource, args.cluster.scope(args.all_namespaces));
        let found = match name {
            Some(name) => match objects.get(&name).await {
                Err(error) if args.ignore_not_found && error.reason == Reason::NotFound => Vec::new(),
                got => vec![got?],
            },
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

fn sort(objects: &mut [Value], path: &Path) {
    let key = |object: &Value| {
        let found = path.find(object);
        let number = found.first().and_then(|value| value.as_f64());
        (number.is_none(), number, found.first().map(|value| plain(value)))
    };
    objects.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
}

fn print(args: &GetArgs, found: Found, named: bool) -> anyhow::Result<()> {
    match args.output.clone().unwrap_or_default() {
        Output::Table => tables(args, &found, false),
        Output::Wide => tables(args, &found, true),
        Output::Name => {
            for (resource, objects) in &found {
                objects.iter().for_each(|object| sayln!("{}", shown(resource, object)));
            }
        }
        Output::Yaml => say!("{}", yaml::print(&one_or_list(found, named))?),
        Output::Json => sayln!("{:#}", one_or_list(found, named)),
        Output::JsonPath(template) => say!("{}", template.render(&one_or_list(found, named))),
        Output::Columns(columns) => {
            let mut grid = if args.no_headers { Grid::default() } else { Grid::new(columns.headings()) };
            found.iter().flat_map(|(_, objects)| objects).for_each(|object| grid.add(columns.cells(object)));
            say!("{grid}");
        }
    }
    Ok(())
}

/// The one object that was named; a listing is a list whatever its length, as scripts expect.
fn one_or_list(found: Found, named: bool) -> Value {
    let mut items: Vec<Value> = found.into_iter().flat_map(|(_, objects)| objects).collect();
    match items.len() {
        1 if named => items.swap_remove(0),
        _ => json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}),
    }
}

fn tables(args: &GetArgs, found: &Found, wide: bool) {
    let several = found.len() > 1;
    let mut first = true;
    for (resource, objects) in found.iter().filter(|(_, objects)| !objects.is_empty()) {
        if !std::mem::take(&mut first) {
            sayln!();
        }
        let view = View { args, wide, kinds: several };
        let mut grid = if args.no_headers { Grid::default() } else { Grid::new(view.headings(resource)) };
        objects.iter().for_each(|object| grid.add(view.cells(resource, object, now())));
        say!("{grid}");
    }
    if first && !args.ignore_not_found {
        eprintln!("{}", none_found(args));
    }
}

fn none_found(args: &GetArgs) -> String {
    if args.all_namespaces {
        "No resources found".to_owned()
    } else {
        format!("No resources found in {} namespace.", args.cluster.namespace)
    }
}

/// Which of the server's columns are shown, and what is added to them.
struct View<'a> {
    args: &'a GetArgs,
    wide: bool,
    /// The kind before each name, where objects of several are shown.
    kinds: bool,
}

impl View<'_> {
    fn headings(&self, resource: &'static Resource) -> Vec<String> {
        let namespace = self.namespaced(resource).then(|| "NAMESPACE".to_owned());
        let columns = table::columns(resource).iter().filter(|column| self.wide || column.priority == 0);
        let label = |key: &String| key.rsplit('/').next().unwrap_or_default().to_uppercase();
        let picked = self.args.label_columns.iter().map(label);
        let labels = self.args.show_labels.then(|| "LABELS".to_owned());
        let columns = columns.map(|column| column.name.to_uppercase());
        namespace.into_iter().chain(columns).chain(picked).chain(labels).collect()
    }

    fn cells(&self, resource: &'static Resource, object: &Value, now: Timestamp) -> Vec<String> {
        let namespace = self.namespaced(resource).then(|| text(object, "/metadata/namespace").to_owned());
        let pairs = table::columns(resource).iter().zip(table::cells(resource, object, now));
        let cells = pairs.filter(|(column, _)| self.wide || column.priority == 0).map(|(column, cell)| {
            let kind = if self.kinds && column.format == "name" { singular(resource) + "/" } else { String::new() };
            kind + &plain(&cell)
        });
        let known = object.pointer("/metadata/labels");
        let label = |key: &String| known.and_then(|labels| labels.get(key)).map(plain).unwrap_or_default();
        let picked = self.args.label_columns.iter().map(label);
        let labels = self.args.show_labels.then(|| pairs_of(object, "/metadata/labels", ","));
        namespace.into_iter().chain(cells).chain(picked).chain(labels).collect()
    }

    fn namespaced(&self, resource: &Resource) -> bool {
        self.args.all_namespaces && resource.namespaced
    }
}

/// The pairs of a map of strings, as `key=value`.
pub fn pairs_of(object: &Value, pointer: &str, between: &str) -> String {
    let map = object.pointer(pointer).and_then(Value::as_object);
    let pairs: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", plain(value))).collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(between) }
}

async fn watch(args: &GetArgs, client: &Client) -> anyhow::Result<()> {
    let wanted = targets(&args.what)?;
    let [Target { resource, name }] = wanted.as_slice() else {
        bail!("one resource can be watched at a time");
    };
    let objects = Objects::new(client, resource, args.cluster.scope(args.all_namespaces));
    let mut options = options(args);
    if let Some(name) = name {
        objects.get(name).await.with_context(|| format!("cannot read {}/{name}", singular(resource)))?;
        options.fields = format!("metadata.name={name}");
    }
    let (found, resource_version) = objects.list_at(options.clone()).await?;
    let ListOptions { labels, fields, .. } = options;
    let wide = matches!(args.output, Some(Output::Wide));
    let view = View { args, wide, kinds: false };
    let mut stream = Stream { args, resource, view, grid: Grid::default() };
    stream.begin(&found)?;
    let options = WatchOptions { labels, fields, resource_version, ..WatchOptions::default() };
    let mut events = objects.watch(options);
    while let Some(event) = events.next().await {
        let (_, object) = event?;
        stream.show(&object)?;
    }
    bail!("the server closed the watch; try again")
}

/// Objects printed one after the other, as they change.
struct Stream<'a> {
    args: &'a GetArgs,
    resource: &'static Resource,
    view: View<'a>,
    grid: Grid,
}

impl Stream<'_> {
    fn begin(&mut self, found: &[Value]) -> anyhow::Result<()> {
        let headings = match &self.args.output {
            None | Some(Output::Table | Output::Wide) => self.view.headings(self.resource),
            Some(Output::Columns(columns)) => columns.headings(),
            Some(_) => return found.iter().try_for_each(|object| self.show(object)),
        };
        self.grid = if self.args.no_headers { Grid::default() } else { Grid::new(headings) };
        for object in found {
            let row = self.row(object);
            self.grid.add(row);
        }
        say!("{}", self.grid);
        Ok(())
    }

    fn row(&self, object: &Value) -> Vec<String> {
        match &self.args.output {
            Some(Output::Columns(columns)) => columns.cells(object),
            _ => self.view.cells(self.resource, object, now()),
        }
    }

    fn show(&mut self, object: &Value) -> anyhow::Result<()> {
        match &self.args.output {
            None | Some(Output::Table | Output::Wide | Output::Columns(_)) => {
                let row = self.row(object);
                say!("{}", self.grid.line(row));
            }
            Some(output) => {
                if matches!(output, Output::Yaml) {
                    sayln!("---");
                }
                print_object(output, self.resource, object)?;
            }
        }
        Ok(())
    }
}

/// One object in full, in the form of one's choice.
pub fn print_object(output: &Output, resource: &Resource, object: &Value) -> anyhow::Result<()> {
    match output {
        Output::Yaml => say!("{}", yaml::print(object)?),
        Output::Json => sayln!("{object:#}"),
        Output::Name => sayln!("{}", shown(resource, object)),
        Output::JsonPath(template) => say!("{}", template.render(object)),
        Output::Table | Output::Wide | Output::Columns(_) => {
            bail!("only yaml, json, name and jsonpath show one object")
        }
    }
    Ok(())
}

/// The time against which ages are shown to a person.
#[expect(clippy::disallowed_methods, reason = "a command line's ages are for the person who runs it now")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
