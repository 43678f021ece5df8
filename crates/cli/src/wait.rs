//! `wait`: until objects are as wanted, or gone.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use wherry_api::Resource;
use wherry_client::{Client, ListOptions};

use crate::args::WaitArgs;
use crate::objects::{Objects, Target, singular, targets, text};
use crate::template::{Path, plain};

/// What is waited for.
#[derive(Clone, Debug)]
pub enum Goal {
    /// A condition of this type has this status.
    Condition {
        /// `Ready`.
        kind: String,
        /// `True`.
        status: String,
    },
    /// A field is there, or has this value.
    Field {
        /// Where.
        path: Path,
        /// What; none: anything.
        value: Option<String>,
    },
    /// The object is there.
    Create,
    /// The object is gone.
    Delete,
}

impl Goal {
    /// Reads `condition=Ready`, `condition=Ready=False`, `jsonpath={.status.phase}=Running`, `create`, `delete`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=').unwrap_or((text, "")) {
            ("create", "") => Ok(Self::Create),
            ("delete", "") => Ok(Self::Delete),
            ("condition", condition) if !condition.is_empty() => {
                let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
                Ok(Self::Condition { kind: kind.to_owned(), status: status.to_owned() })
            }
            ("jsonpath", rest) if !rest.is_empty() => {
                let end = rest.rfind('}').map_or_else(|| rest.find('=').unwrap_or(rest.len()), |at| at + 1);
                let (path, value) = rest.split_at(end);
                Ok(Self::Field { path: Path::parse(path)?, value: value.strip_prefix('=').map(str::to_owned) })
            }
            _ => Err("write condition=Ready, jsonpath={.status.phase}=Running, create or delete".to_owned()),
        }
    }

    /// Whether an object, or its absence, is what is waited for.
    pub fn is_met(&self, object: Option<&Value>) -> bool {
        match (self, object) {
            (Self::Delete, object) => object.is_none(),
            (_, None) => false,
            (Self::Create, Some(_)) => true,
            (Self::Condition { kind, status }, Some(object)) => {
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                let has = |c: &Value, key: &str, value: &str| text(c, key).eq_ignore_ascii_case(value);
                conditions.into_iter().flatten().any(|c| has(c, "/type", kind) && has(c, "/status", status))
            }
            (Self::Field { path, value }, Some(object)) => {
                let found = path.find(object);
                let is = |wanted: &String| found.iter().any(|found| plain(found) == *wanted);
                value.as_ref().map_or(!found.is_empty(), is)
            }
        }
    }
}

/// Waits for all objects and prints a line for each.
pub async fn run(args: WaitArgs) -> anyhow::Result<()> {
    let client = args.chosen.cluster.client()?;
    let all = wanted(&args, &client).await?;
    let waiting = async {
        for (resource, name) in &all {
            let shown = format!("{}/{name}", singular(resource));
            let objects = Objects::new(&client, resource, Some(&args.chosen.cluster.namespace));
            let exists = matches!(args.goal, Goal::Create | Goal::Delete);
            if !exists {
                objects.get(name).await.with_context(|| format!("cannot read {shown}"))?;
            }
            objects.until(name, |object| args.goal.is_met(object)).await?;
            sayln!("{shown} condition met");
        }
        anyhow::Ok(())
    };
    within(args.timeout, waiting).await
}

/// Lets something take so long at most.
pub async fn within<T>(most: Duration, what: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let late = || format!("timed out waiting: it took longer than {} s; ask for more with --timeout", most.as_secs());
    tokio::time::timeout(most, what).await.with_context(late)?
}

async fn wanted(args: &WaitArgs, client: &Client) -> anyhow::Result<Vec<(&'static Resource, String)>> {
    let mut all = Vec::new();
    for Target { resource, name } in targets(&args.what)? {
        match name {
            Some(name) => all.push((resource, name)),
            None if args.chosen.all || !args.chosen.selector.is_empty() => {
                let options = ListOptions { labels: args.chosen.selector.clone(), ..ListOptions::default() };
                let found = Objects::new(client, resource, Some(&args.chosen.cluster.namespace)).list(options).await?;
                all.extend(found.iter().map(|object| (resource, text(object, "/metadata/name").to_owned())));
            }
            None => bail!("name the {} to wait for, or say -l or --all", resource.plural),
        }
    }
    if all.is_empty() && !matches!(args.goal, Goal::Delete) {
        bail!("no matching resources found");
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn goals_are_read_and_met() {
        let pod = json!({"status": {"phase": "Running", "n": 2, "conditions": [{"type": "Ready", "status": "True"}]}});
        for (goal, met) in [
            ("condition=Ready", true),
            ("condition=ready=true", true),
            ("condition=Ready=False", false),
            ("condition=Other", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath={.status.n}=2", true),
            ("jsonpath=.status.phase=Pending", false),
            ("jsonpath={.status.conditions[?(@.type=='Ready')].status}=True", true),
            ("jsonpath={.status.none}", false),
            ("jsonpath={.status.phase}", true),
            ("create", true),
            ("delete", false),
        ] {
            assert_eq!(Goal::parse(goal).unwrap().is_met(Some(&pod)), met, "{goal}");
        }
        assert!(Goal::parse("delete").unwrap().is_met(None) && !Goal::parse("create").unwrap().is_met(None));
        assert!(["", "ready", "condition=", "jsonpath="].iter().all(|goal| Goal::parse(goal).is_err()));
    }
}
