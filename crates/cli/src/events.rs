//! `events`: what happened, oldest first.

use serde_json::Value;
use wherry_api::kinds::{Event, Kind};
use wherry_client::ListOptions;

use crate::args::EventsArgs;
use crate::get::plain_table;
use crate::objects::{Objects, text};

/// Prints the events of a namespace or of all.
pub async fn run(args: EventsArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let namespace = (!args.all_namespaces).then_some(args.cluster.namespace.as_str());
    let found = Objects::new(&client, Event::resource(), namespace).list(ListOptions::default()).await?;
    print_events(found, args.all_namespaces);
    Ok(())
}

/// Prints events as a table, oldest first.
pub fn print_events(mut events: Vec<Value>, namespaces: bool) {
    if events.is_empty() {
        println!("No events found.");
        return;
    }
    events.sort_by(|a, b| when(a).cmp(when(b)));
    let mut table = plain_table();
    let heading = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
    table.set_header(namespaces.then_some("NAMESPACE").into_iter().chain(heading).collect::<Vec<_>>());
    for event in &events {
        let object =
            format!("{}/{}", text(event, "/involvedObject/kind").to_lowercase(), text(event, "/involvedObject/name"));
        let namespace = namespaces.then(|| text(event, "/metadata/namespace").to_owned());
        let cells = [when(event), text(event, "/type"), text(event, "/reason"), &object, text(event, "/message")];
        table.add_row(namespace.into_iter().chain(cells.map(str::to_owned)).collect::<Vec<_>>());
    }
    println!("{table}");
}

fn when(event: &Value) -> &str {
    let moments = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"].map(|pointer| text(event, pointer));
    moments.into_iter().find(|moment| !moment.is_empty()).unwrap_or_default()
}
