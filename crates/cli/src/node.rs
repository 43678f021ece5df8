//! `cordon`, `uncordon` and `taint`: which pods a node takes.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::args::{CordonArgs, TaintArgs};
use crate::change::{change_each, map_at, split};
use crate::objects::text;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Closes nodes to new pods, or opens them.
pub async fn cordon(args: CordonArgs, closed: bool) -> anyhow::Result<()> {
    let named = |name: &String| if name.contains('/') { name.clone() } else { format!("node/{name}") };
    let nodes: Vec<String> = args.nodes.iter().map(named).collect();
    let nodes = if nodes.is_empty() { vec!["nodes".to_owned()] } else { nodes };
    let said = if closed { ("cordoned", Some("already cordoned")) } else { ("uncordoned", Some("already uncordoned")) };
    change_each(&nodes, &args.chosen, said, |node| {
        let spec = map_at(node, &["spec"]).context("it is no node")?;
        if closed {
            spec.insert("unschedulable".to_owned(), true.into());
        } else {
            spec.remove("unschedulable");
        }
        Ok(())
    })
    .await
}

/// Puts taints on nodes, or takes them off.
pub async fn taint(args: TaintArgs) -> anyhow::Result<()> {
    let (nodes, changes) = split(&args.what)?;
    let changes = changes.into_iter().map(Change::parse).collect::<anyhow::Result<Vec<_>>>()?;
    let removals = changes.iter().filter(|change| change.removes).count();
    let done = match removals {
        _ if args.overwrite => "modified",
        0 => "tainted",
        count if count == changes.len() => "untainted",
        _ => "modified",
    };
    change_each(&nodes, &args.chosen, (done, Some("unchanged")), |node| set(node, &changes, args.overwrite)).await
}

/// `KEY=VALUE:EFFECT` and `KEY:EFFECT` put a taint on; `KEY-` and `KEY:EFFECT-` take it off.
struct Change {
    removes: bool,
    key: String,
    value: String,
    /// Empty, of removals only: whatever the effect.
    effect: String,
}

impl Change {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let removes = text.ends_with('-');
        let (pair, effect) = text.trim_end_matches('-').split_once(':').unwrap_or((text.trim_end_matches('-'), ""));
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() || (effect.is_empty() && !removes) {
            bail!("\"{text}\" is no taint; write KEY=VALUE:EFFECT, or KEY- to remove one");
        }
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            bail!("invalid taint effect: {effect}, unsupported taint effect; it is one of {}", EFFECTS.join(", "));
        }
        Ok(Self { removes, key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
    }

    fn is_about(&self, taint: &Value) -> bool {
        text(taint, "/key") == self.key && (self.effect.is_empty() || text(taint, "/effect") == self.effect)
    }
}

fn set(node: &mut Value, changes: &[Change], overwrite: bool) -> anyhow::Result<()> {
    let name = text(node, "/metadata/name").to_owned();
    let spec = map_at(node, &["spec"]).context("it is no node")?;
    let mut taints = spec.remove("taints").and_then(|taints| taints.as_array().cloned()).unwrap_or_default();
    for change in changes {
        let Change { removes, key, value, effect } = change;
        let before = taints.len();
        taints.retain(|taint| !change.is_about(taint));
        let found = taints.len() < before;
        match removes {
            true if !found => bail!("taint \"{key}{}{effect}\" not found", if effect.is_empty() { "" } else { ":" }),
            true => {}
            false if found && !overwrite => {
                bail!("node {name} already has {key} taint(s) with same effect(s) and --overwrite is false")
            }
            false if value.is_empty() => taints.push(json!({"key": key, "effect": effect})),
            false => taints.push(json!({"key": key, "value": value, "effect": effect})),
        }
    }
    if !taints.is_empty() {
        spec.insert("taints".to_owned(), taints.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[&str], overwrite: bool) -> Result<String, String> {
        let taints = json!([{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]);
        let mut node = json!({"metadata": {"name": "n"}, "spec": {"taints": taints}});
        let changes: anyhow::Result<Vec<Change>> = changes.iter().map(|change| Change::parse(change)).collect();
        changes.and_then(|changes| set(&mut node, &changes, overwrite)).map_err(|e| e.to_string())?;
        let taints = node["spec"].get("taints").and_then(Value::as_array).cloned().unwrap_or_default();
        let show = |t: &Value| format!("{}={}:{}", text(t, "/key"), text(t, "/value"), text(t, "/effect"));
        Ok(taints.iter().map(show).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn taints_are_put_on_and_taken_off() {
        for (changes, overwrite, expected) in [
            (&["c=d:NoSchedule"][..], false, Ok("a=b:NoSchedule a=:NoExecute c=d:NoSchedule")),
            (&["a=c:NoSchedule"], true, Ok("a=:NoExecute a=c:NoSchedule")),
            (&["a=c:NoSchedule"], false, Err("already has a taint(s) with same effect(s) and --overwrite is false")),
            (&["a-"], false, Ok("")),
            (&["a:NoExecute-", "e:NoExecute"], false, Ok("a=b:NoSchedule e=:NoExecute")),
            (&["c-"], false, Err("taint \"c\" not found")),
            (&["a:PreferNoSchedule-"], false, Err("taint \"a:PreferNoSchedule\" not found")),
            (&["a=b"], false, Err("is no taint; write KEY=VALUE:EFFECT")),
            (&["a=b:Never"], false, Err("invalid taint effect: Never")),
        ] {
            match (after(changes, overwrite), expected) {
                (Ok(taints), expected) => assert_eq!(Ok(taints.as_str()), expected, "{changes:?}"),
                (Err(error), expected) => assert!(error.contains(expected.unwrap_err()), "{changes:?}: {error}"),
            }
        }
    }
}
