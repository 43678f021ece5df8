//! `events`: what happened, oldest first; `-w` goes on with what happens.

use anyhow::bail;
use futures::StreamExt;
use serde_json::Value;
use wherry_api::kinds::{Event, Kind};
use wherry_api::table;
use wherry_client::{EventKind, ListOptions, WatchOptions};

use crate::args::EventsArgs;
use crate::get::now;
use crate::grid::Grid;
use crate::objects::{Objects, one_target, text};
use crate::template::plain;

/// Prints the events of a namespace or of all.
pub async fn run(args: EventsArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let fields = match &args.about {
        Some(about) => {
            let (resource, name) = one_target(std::slice::from_ref(about))?;
            format!("involvedObject.kind={},involvedObject.name={name}", resource.kind)
        }
        None => String::new(),
    };
    let wanted = |event: &Value| {
        args.types.is_empty() || args.types.iter().any(|kind| kind.eq_ignore_ascii_case(text(event, "/type")))
    };
    let objects = Objects::new(&client, Event::resource(), args.cluster.scope(args.all_namespaces));
    let options = ListOptions { fields: fields.clone(), ..ListOptions::default() };
    let (mut found, resource_version) = objects.list_at(options).await?;
    found.retain(|event| wanted(event));
    if found.is_empty() && !args.watch {
        let place = args.cluster.scope(args.all_namespaces).map(|namespace| format!(" in {namespace} namespace"));
        eprintln!("No events found{}.", place.unwrap_or_default());
        return Ok(());
    }
    let mut grid = grid(found, args.all_namespaces);
    say!("{grid}");
    if !args.watch {
        return Ok(());
    }
    let mut changes = objects.watch(WatchOptions { fields, resource_version, ..WatchOptions::default() });
    while let Some(change) = changes.next().await {
        let (kind, event) = change?;
        if kind != EventKind::Deleted && wanted(&event) {
            say!("{}", grid.line(row(&event, args.all_namespaces)));
        }
    }
    bail!("the server closed the watch; try again")
}

/// Events as a table, oldest first.
pub fn grid(mut events: Vec<Value>, namespaces: bool) -> Grid {
    events.sort_by(|a, b| when(a).cmp(when(b)));
    let heading = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
    let mut grid = Grid::new(namespaces.then_some("NAMESPACE").into_iter().chain(heading));
    events.iter().for_each(|event| grid.add(row(event, namespaces)));
    grid
}

fn row(event: &Value, namespaces: bool) -> Vec<String> {
    let namespace = namespaces.then(|| text(event, "/metadata/namespace").to_owned());
    let cells = ["Type", "Reason", "Object", "Message"].map(|column| cell(event, column));
    namespace.into_iter().chain([age(event)]).chain(cells).collect()
}

/// The server's cell of an event.
fn cell(event: &Value, column: &str) -> String {
    let mut pairs = table::columns(Event::resource()).iter().zip(table::cells(Event::resource(), event, now()));
    pairs.find(|(known, _)| known.name == column).map(|(_, cell)| plain(&cell)).unwrap_or_default()
}

/// `5s`, or `5s (x3 over 2m)` where it was seen several times.
pub fn age(event: &Value) -> String {
    let last = cell(event, "Last Seen");
    match cell(event, "Count").as_str() {
        "1" | "" => last,
        count => format!("{last} (x{count} over {})", cell(event, "First Seen")),
    }
}

/// When it was last seen, as RFC 3339, which sorts as text.
pub fn when(event: &Value) -> &str {
    let moments = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"].map(|pointer| text(event, pointer));
    moments.into_iter().find(|moment| !moment.is_empty()).unwrap_or_default()
}
