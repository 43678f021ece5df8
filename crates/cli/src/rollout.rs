//! `rollout`: a deployment's progress as kubectl words it, its revisions, the way back, a restart.

use anyhow::{Context, bail};
use futures::StreamExt;
use serde_json::{Value, json};
use wherry_api::Kind;
use wherry_api::kinds::{Deployment, ReplicaSet};
use wherry_client::{Client, Event, ListOptions, WatchOptions};

use crate::args::{ClusterArgs, RolloutArgs, RolloutVerb};
use crate::get::{now, plain_table};
use crate::objects::{Objects, one_target};

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

async fn status(args: RolloutArgs) -> anyhow::Result<()> {
    let (client, name) = open(&args)?;
    let api = client.namespaced::<Deployment>(&args.cluster.namespace);
    let fields = format!("metadata.name={name}");
    let mut present = api.get(&name).await?;
    let resource_version = present.metadata.resource_version.clone().unwrap_or_default();
    let mut watch = api.watch(WatchOptions { fields, resource_version, ..WatchOptions::default() }).await?;
    loop {
        match rollout_state(&present) {
            RolloutState::Done => break println!("deployment \"{name}\" successfully rolled out"),
            RolloutState::Waiting(sentence) => println!("{sentence}"),
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

async fn history(args: RolloutArgs) -> anyhow::Result<()> {
    let (client, name) = open(&args)?;
    let mut table = plain_table();
    table.set_header(["REVISION", "CHANGE-CAUSE"]);
    for (revision, set) in revisions(&client, &args.cluster, &name).await? {
        table.add_row([revision.to_string(), annotation(&set, CHANGE_CAUSE).unwrap_or("<none>").to_owned()]);
    }
    println!("deployment.apps/{name}\n{table}");
    Ok(())
}

async fn undo(args: RolloutArgs) -> anyhow::Result<()> {
    let (client, name) = open(&args)?;
    let known = revisions(&client, &args.cluster, &name).await?;
    let previous = known.len().checked_sub(2).and_then(|i| known.get(i));
    let (revision, set) = previous.with_context(|| format!("deployment \"{name}\" has no revision to go back to"))?;
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let mut template = serde_json::to_value(template)?;
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    let api = client.namespaced::<Deployment>(&args.cluster.namespace);
    let mut deployment = api.get(&name).await?;
    if let Some(spec) = deployment.spec.as_mut() {
        spec.template = serde_json::from_value(template)?;
    }
    api.update(&deployment).await?;
    println!("deployment.apps/{name} rolled back to revision {revision}");
    Ok(())
}

async fn restart(args: RolloutArgs) -> anyhow::Result<()> {
    let (client, name) = open(&args)?;
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": now().to_string()});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    Objects::new(&client, Deployment::resource(), Some(&args.cluster.namespace)).strategic(&name, &patch).await?;
    println!("deployment.apps/{name} restarted");
    Ok(())
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
        bail!("{} have no rollouts; name a deployment", resource.plural);
    }
    Ok((args.cluster.client()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

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
