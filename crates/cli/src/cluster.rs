//! `api-resources` and `cluster-info`: what the server says of itself.

use anyhow::Context;
use serde_json::Value;
use wherry_client::Https;

use crate::args::{ApiResourcesArgs, ClusterArgs, Output};
use crate::grid::Grid;
use crate::objects::text;

/// Prints where the server is, once it has answered.
pub async fn info(args: ClusterArgs) -> anyhow::Result<()> {
    let kubeconfig = args.load()?;
    read(&Https::new(&kubeconfig)?, "/version").await?;
    sayln!("Kubernetes control plane is running at {}", kubeconfig.servers.join(", "));
    Ok(())
}

/// Prints the resources that the server names.
pub async fn resources(args: ApiResourcesArgs) -> anyhow::Result<()> {
    let found: Vec<Served> = served(&Https::new(&args.cluster.load()?)?).await?;
    let found = found.iter().filter(|served| served.is_wanted(&args));
    match args.output {
        Some(Output::Name) => found.for_each(|served| sayln!("{}", served.qualified())),
        _ => {
            let wide = matches!(args.output, Some(Output::Wide));
            let more = ["VERBS", "CATEGORIES"].into_iter().filter(|_| wide);
            let headings = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"].into_iter().chain(more);
            let mut grid = if args.no_headers { Grid::default() } else { Grid::new(headings) };
            found.for_each(|served| grid.add(served.cells(wide)));
            say!("{grid}");
        }
    }
    Ok(())
}

/// Reads a document of the server's.
pub async fn read(https: &Https, path: &str) -> anyhow::Result<Value> {
    let bytes = https.fetch(path).await?;
    serde_json::from_slice(&bytes).with_context(|| format!("the server's {path} is no JSON"))
}

/// A resource as discovery names it, and its group's version.
struct Served {
    version: String,
    resource: Value,
}

/// The resources of all groups, each in the group's preferred version; those of the core first.
async fn served(https: &Https) -> anyhow::Result<Vec<Served>> {
    let groups = read(https, "/apis").await?;
    let groups = groups.pointer("/groups").and_then(Value::as_array).into_iter().flatten();
    let mut versions: Vec<&str> = groups.map(|group| text(group, "/preferredVersion/groupVersion")).collect();
    versions.sort_unstable();
    let mut found = Vec::new();
    for version in ["v1"].into_iter().chain(versions) {
        let root = if version.contains('/') { "/apis" } else { "/api" };
        let list = read(https, &format!("{root}/{version}")).await?;
        let resources = list.pointer("/resources").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut own: Vec<Value> = resources.into_iter().filter(|one| !text(one, "/name").contains('/')).collect();
        own.sort_by(|a, b| text(a, "/name").cmp(text(b, "/name")));
        found.extend(own.into_iter().map(|resource| Served { version: version.to_owned(), resource }));
    }
    Ok(found)
}

impl Served {
    fn group(&self) -> &str {
        self.version.split_once('/').map_or("", |(group, _)| group)
    }

    fn qualified(&self) -> String {
        let name = text(&self.resource, "/name");
        if self.group().is_empty() { name.to_owned() } else { format!("{name}.{}", self.group()) }
    }

    fn namespaced(&self) -> bool {
        self.resource.pointer("/namespaced").and_then(Value::as_bool).unwrap_or_default()
    }

    fn words(&self, field: &str) -> Vec<&str> {
        let list = self.resource.get(field).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn is_wanted(&self, args: &ApiResourcesArgs) -> bool {
        args.namespaced.is_none_or(|wanted| wanted == self.namespaced())
            && args.api_group.as_ref().is_none_or(|wanted| wanted == self.group())
            && args.verbs.iter().all(|verb| self.words("verbs").contains(&verb.as_str()))
    }

    fn cells(&self, wide: bool) -> Vec<String> {
        let namespaced = self.namespaced().to_string();
        let kind = text(&self.resource, "/kind").to_owned();
        let short = self.words("shortNames").join(",");
        let mut cells = vec![text(&self.resource, "/name").to_owned(), short, self.version.clone(), namespaced, kind];
        if wide {
            cells.extend(["verbs", "categories"].map(|field| self.words(field).join(",")));
        }
        cells
    }
}
