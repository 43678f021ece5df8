//! `masters`: who they are, who leads, and how one leaves. They are no objects of the API: the log itself has them.

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use wherry_api::routes::MASTERS;
use wherry_client::Https;

use crate::args::{ClusterArgs, MastersVerb};
use crate::cluster::read;
use crate::grid::Grid;
use crate::objects::text;

const HEADINGS: [&str; 5] = ["NAME", "ROLE", "ADDRESS", "BEHIND", "ID"];

/// Carries out a verb.
pub async fn run(verb: MastersVerb) -> anyhow::Result<()> {
    match verb {
        MastersVerb::List(cluster) => list(cluster).await,
        MastersVerb::Remove(args) => remove(&Https::new(&args.cluster.load()?)?, &args.name).await,
    }
}

async fn list(cluster: ClusterArgs) -> anyhow::Result<()> {
    let answer = read(&Https::new(&cluster.load()?)?, MASTERS).await?;
    let mut grid = Grid::new(HEADINGS);
    for master in answer.get("masters").and_then(Value::as_array).into_iter().flatten() {
        grid.add(row(master));
    }
    say!("{grid}");
    Ok(())
}

fn row(master: &Value) -> [String; 5] {
    let number = |field: &str| master.get(field).and_then(Value::as_u64).map(|number| number.to_string());
    let own = |pointer: &str| text(master, pointer).to_owned();
    let behind = number("behind").unwrap_or_else(|| "-".to_owned());
    [own("/name"), own("/role"), own("/address"), behind, number("id").unwrap_or_default()]
}

async fn remove(server: &Https, name: &str) -> anyhow::Result<()> {
    let (status, _, body) =
        server.call(Method::DELETE, &format!("{MASTERS}/{name}"), "application/json", None, Bytes::new()).await?;
    if !status.is_success() {
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = answer.get("message").and_then(Value::as_str).unwrap_or("the server refused it");
        anyhow::bail!("the master {name} was not removed: {message}");
    }
    sayln!("master \"{name}\" removed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let master = json!({"id": 7, "name": "a", "role": "leader", "address": "127.0.0.1:6443"});
        assert_eq!(row(&master), ["a", "leader", "127.0.0.1:6443", "-", "7"]);
        let master = json!({"id": 8, "name": "b", "role": "voter", "address": "127.0.0.2:6443", "behind": 3});
        assert_eq!(row(&master), ["b", "voter", "127.0.0.2:6443", "3", "8"]);
    }
}
