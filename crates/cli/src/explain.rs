//! `explain`: what the server's OpenAPI documents say of a kind and of its fields, in kubectl's form.

mod page;
mod schema;

use wherry_client::Https;

use crate::args::ExplainArgs;
use crate::cluster::read;
use crate::objects::one_resource;
use schema::Schemas;

/// Prints the page of `RESOURCE[.FIELD…]`.
pub async fn run(args: ExplainArgs) -> anyhow::Result<()> {
    let (word, path) = args.what.split_once('.').unwrap_or((&args.what, ""));
    let resource = one_resource(word)?;
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    let https = Https::new(&args.cluster.load()?)?;
    let document = read(&https, &format!("/openapi/v3/{root}/{}", resource.api_version())).await?;
    let schemas = Schemas::new(&document);
    let fields: Vec<&str> = path.split('.').filter(|field| !field.is_empty()).collect();
    say!("{}", page::of(&schemas, resource, &fields, args.recursive)?);
    Ok(())
}
