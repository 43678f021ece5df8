//! `rollout`: a deployment's progress as kubectl words it, its revisions, the way back, a restart.

use anyhow::{Context, bail};
use futures::StreamExt;
use serde_json::Value;
use wherry_api::Kind;
use wherry_api::kinds::{Deployment, ReplicaSet};
use wherry_client::{Client, Event, ListOptions, WatchOptions};

use crate::args::{ChangeArgs, ClusterArgs, HistoryArgs, RolloutArgs, RolloutVerb, StatusArgs, UndoArgs};
use crate::change::{change, change_each, map_at};
use crate::describe::template;
use crate::get::now;
use crate::grid::Grid;
use crate::objects::{Objects, one_target, text};
use crate::wait::within;

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const HASH_LABEL: &str = "pod-template-hash";

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutState {
    /// All replicas are new and available.
    Done,
    /// Not yet; the sentence says what is missing.
    Waiting(String),
    /// Its progress deadline is over.
    Failed(String),
}

/// Carries out a verb.
pub async fn run(verb: RolloutVerb) -> anyhow::Result<()> {
    match verb {
        RolloutVerb::Status(args) => status(args).await,
        RolloutVerb::History(args) => history(args).await,
        RolloutVerb::Undo(args) => undo(args).await,
        RolloutVerb::Restart(args) => restart(args).await,
        RolloutVerb::Pause(args) => set_paused(args, true).await,
        RolloutVerb::Resume(args) => set_paused(args, false).await,
    }
}

/// Reads a deployment's progress from its status.
pub fn rollout_state(deployment: &Deployment) -> RolloutState {
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let status = deployment.status.clone().unwrap_or_default();
    if deployment.metadata.generation.unwrap_or(0) > status.observed_generation.unwrap_or(0) {
        return RolloutState::Waiting("Waiting for deployment spec update to be observed...".into());
    }
    let progressing = status.conditions.iter().flatten().find(|c| c.type_ == "Progressing");
    if progressing.and_then(|c| c.reason.as_deref()) == Some("ProgressDeadlineExceeded") {
        return RolloutState::Failed(format!("deployment \"{name}\" exceeded its progress deadline"));
    }
    let wanted = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let (updated, all) = (status.updated_replicas.unwrap_or(0), status.replicas.unwrap_or(0));
    let available = status.available_replicas.unwrap_or(0);
    let waiting =
        |what: String| RolloutState::Waiting(format!("Waiting for deployment \"{name}\" rollout to finish: {what}..."));
    if updated < wanted {
        waiting(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if all > updated {
        waiting(format!("{} old replicas are pending termination", all - updated))
    } else if available < updated {
        waiting(format!("{available} of {updated} updated replicas are available"))
    } else {
        RolloutState::Done
    }
}

async fn status(args: StatusArgs) -> anyhow::Result<()> {
    let following = follow(&args);
    if args.timeout.is_zero() { following.await } else { within(args.timeout, following).await }
}

async fn follow(args: &StatusArgs) -> anyhow::Result<()> {
    let (client, name) = open(&args.rollout)?;
    let api = client.namespaced::<Deployment>(&args.rollout.cluster.namespace);
    let fields = format!("metadata.name={name}");
    let mut present = api.get(&name).await?;
    let resource_version = present.metadata.resource_version.clone().unwrap_or_default();
    let mut watch = api.follow(WatchOptions { fields, resource_version, ..WatchOptions::default() });
    let mut told = String::new();
    loop {
        match rollout_state(&present) {
            RolloutState::Done => break sayln!("deployment \"{name}\" successfully rolled out"),
            RolloutState::Waiting(sentence) if !args.watch => break sayln!("{sentence}"),
            RolloutState::Waiting(sentence) if sentence == told => {}
            RolloutState::Waiting(sentence) => {
                sayln!("{sentence}");
                told = sentence;
            }
            RolloutState::Failed(sentence) => bail!("{sentence}"),
        }
        present = loop {
            match watch.next().await.context("the server closed the watch; try again")?? {
                Event::Applied(deployment) => break deployment,
                Event::Deleted(_) => bail!("deployment \"{name}\" was deleted"),
                Event::Bookmark(_) => {}
            }
        };
    }
    Ok(())
}

async fn history(args: HistoryArgs) -> anyhow::Result<()> {
    let (client, name) = open(&args.rollout)?;
    let known = revisions(&client, &args.rollout.cluster, &name).await?;
    let Some(wanted) = args.revision else {
        let mut grid = Grid::new(["REVISION", "CHANGE-CAUSE"]);
        for (revision, set) in known {
            grid.add([revision.to_string(), annotation(&set, CHANGE_CAUSE).unwrap_or("<none>").to_owned()]);
        }
        say!("deployment.apps/{name}\n{grid}");
        return Ok(());
    };
    let (_, set) = find(&known, &name, wanted)?;
    let template = template(&serde_json::to_value(&set.spec)?);
    say!("deployment.apps/{name} with revision #{wanted}\n{template}");
    Ok(())
}

fn find<'a>(known: &'a [(u64, ReplicaSet)], name: &str, wanted: u64) -> anyhow::Result<&'a (u64, ReplicaSet)> {
    let there = || known.iter().map(|(revision, _)| revision.to_string()).collect::<Vec<_>>().join(", ");
    let found = known.iter().find(|(revision, _)| *revision == wanted);
    found.with_context(|| format!("unable to find specified revision {wanted} in history; {name} has {}", there()))
}

async fn undo(args: UndoArgs) -> anyhow::Result<()> {
    let (client, name) = open(&args.rollout)?;
    let known = revisions(&client, &args.rollout.cluster, &name).await?;
    let (revision, set) = match args.to_revision.filter(|wanted| *wanted > 0) {
        Some(wanted) => find(&known, &name, wanted)?,
        None => {
            let previous = known.len().checked_sub(2).and_then(|at| known.get(at));
            previous.with_context(|| format!("no rollout history found for deployment \"{name}\""))?
        }
    };
    let spec = serde_json::to_value(&set.spec)?;
    let objects = Objects::new(&client, Deployment::resource(), Some(&args.rollout.cluster.namespace));
    if change(&objects, &name, |deployment| roll_back(deployment, &spec)).await? {
        sayln!("deployment.apps/{name} rolled back");
    } else {
        sayln!("deployment.apps/{name} skipped rollback (current template already matches revision {revision})");
    }
    Ok(())
}

/// Gives a deployment the template of one of its replica sets.
fn roll_back(deployment: &mut Value, set: &Value) -> anyhow::Result<()> {
    if is_paused(deployment) {
        let name = text(deployment, "/metadata/name");
        bail!(
            "you cannot rollback a paused deployment; resume it first with 'wherry rollout resume deployment/{name}'"
        );
    }
    let mut template = set.get("template").cloned().unwrap_or_default();
    if let Some(labels) = map_at(&mut template, &["metadata", "labels"]) {
        labels.remove(HASH_LABEL);
    }
    map_at(deployment, &["spec"]).map(|spec| spec.insert("template".to_owned(), template));
    Ok(())
}

async fn set_paused(args: ChangeArgs, paused: bool) -> anyhow::Result<()> {
    let done = if paused { "paused" } else { "resumed" };
    change_each(&args.what, &args.chosen, (done, None), |deployment| {
        require_deployment(deployment)?;
        if is_paused(deployment) == paused {
            let name = text(deployment, "/metadata/name");
            bail!("deployments.apps \"{name}\" is {}", if paused { "already paused" } else { "not paused" });
        }
        map_at(deployment, &["spec"]).map(|spec| spec.insert("paused".to_owned(), paused.into()));
        Ok(())
    })
    .await
}

async fn restart(args: ChangeArgs) -> anyhow::Result<()> {
    let when = now().to_string();
    change_each(&args.what, &args.chosen, ("restarted", None), |deployment| {
        require_deployment(deployment)?;
        if is_paused(deployment) {
            let name = text(deployment, "/metadata/name");
            bail!("deployments.apps \"{name}\" can't restart paused deployment (run rollout resume first)");
        }
        let annotations = map_at(deployment, &["spec", "template", "metadata", "annotations"]);
        annotations.map(|all| all.insert("kubectl.kubernetes.io/restartedAt".to_owned(), when.as_str().into()));
        Ok(())
    })
    .await
}

fn is_paused(deployment: &Value) -> bool {
    deployment.pointer("/spec/paused") == Some(&Value::Bool(true))
}

fn require_deployment(object: &Value) -> anyhow::Result<()> {
    match text(object, "/kind") {
        "Deployment" => Ok(()),
        kind => bail!("a {kind} has no rollout; name a deployment"),
    }
}

/// The deployment's replica sets by revision, oldest first.
async fn revisions(client: &Client, cluster: &ClusterArgs, name: &str) -> anyhow::Result<Vec<(u64, ReplicaSet)>> {
    let sets = client.namespaced::<ReplicaSet>(&cluster.namespace).list(ListOptions::default()).await?;
    let owned = |set: &ReplicaSet| {
        let mut owners = set.metadata.owner_references.iter().flatten();
        owners.any(|o| o.kind == "Deployment" && o.name == name)
    };
    let numbered = |set: ReplicaSet| Some((annotation(&set, REVISION)?.parse().ok()?, set));
    let mut found: Vec<(u64, ReplicaSet)> = sets.items.into_iter().filter(owned).filter_map(numbered).collect();
    found.sort_by_key(|(revision, _)| *revision);
    Ok(found)
}

fn annotation<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    set.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn open(args: &RolloutArgs) -> anyhow::Result<(Client, String)> {
    let (resource, name) = one_target(&args.what)?;
    if !std::ptr::eq(resource, Deployment::resource()) {
        bail!("a {} has no rollout; name a deployment", resource.kind);
    }
    Ok((args.cluster.client()?, name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_comes_back_without_its_hash() {
        let set = json!({"template": {"metadata": {"labels": {"a": "b", HASH_LABEL: "1"}}, "spec": {"x": 1}}});
        let mut deployment = json!({"spec": {"replicas": 2, "template": {"spec": {"y": 1}}}});
        roll_back(&mut deployment, &set).unwrap();
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}});
        assert_eq!(deployment, json!({"spec": {"replicas": 2, "template": template}}));
        assert!(roll_back(&mut json!({"spec": {"paused": true}}), &set).is_err());
    }

    fn state(text: &str) -> RolloutState {
        let object = wherry_api::yaml::parse(text).unwrap().remove(0);
        rollout_state(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn words_progress_as_kubectl_does() {
        let head = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, generation: 2}\nspec: {replicas: 3, selector: {}, template: {}}\n";
        let check = |status: &str| state(&format!("{head}status: {status}"));
        let waiting =
            |s: &str| RolloutState::Waiting(format!("Waiting for deployment \"web\" rollout to finish: {s}..."));
        assert!(matches!(check("{observedGeneration: 1}"), RolloutState::Waiting(s) if s.contains("to be observed")));
        assert_eq!(
            check("{observedGeneration: 2, updatedReplicas: 1}"),
            waiting("1 out of 3 new replicas have been updated")
        );
        assert_eq!(
            check("{observedGeneration: 2, updatedReplicas: 3, replicas: 4}"),
            waiting("1 old replicas are pending termination")
        );
        assert_eq!(
            check("{observedGeneration: 2, updatedReplicas: 3, replicas: 3, availableReplicas: 2}"),
            waiting("2 of 3 updated replicas are available")
        );
        assert_eq!(
            check("{observedGeneration: 2, updatedReplicas: 3, replicas: 3, availableReplicas: 3}"),
            RolloutState::Done
        );
    }
}
