//! `masters`: who they are, who leads, and how one leaves. They are no objects of the API: the log itself has them.

use std::time::Duration;

use anyhow::{bail, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use wherry_api::routes::MASTERS;
use wherry_base::Backoff;
use wherry_client::{Https, refusal};

use crate::args::{ClusterArgs, MastersVerb};
use crate::cluster::read;
use crate::grid::Grid;
use crate::objects::text;

/// How often a removal is asked for while the masters cannot decide, or what became of it is not known, and the first and the
/// longest wait in between. Asking again does no harm.
const ASKED_MAX: u32 = 8;
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

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
    let mut backoff = Backoff::new(ASK_AGAIN.0, ASK_AGAIN.1);
    for asked in 1..=ASKED_MAX {
        let path = format!("{MASTERS}/{name}");
        let why = match server.call(Method::DELETE, &path, "application/json", None, Bytes::new()).await {
            Ok((status, _, _)) if status.is_success() => break,
            // What was asked before has removed it.
            Ok((StatusCode::NOT_FOUND, _, _)) if asked > 1 => break,
            Ok((status, _, body)) if status.is_server_error() => refusal(status, &body).to_string(),
            Ok((status, _, body)) => bail!("the master {name} was not removed: {}", refusal(status, &body)),
            Err(error) => error.to_string(),
        };
        ensure!(asked < ASKED_MAX, "the master {name} was not removed: {why}");
        eprintln!("{why}; asking again");
        tokio::time::sleep(backoff.fail()).await;
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
