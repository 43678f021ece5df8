//! `set`: images, environment and resources of the containers of a pod, or of a workload's template.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use wherry_client::ListOptions;

use crate::args::{ChangeArgs, SetEnvArgs, SetResourcesArgs, SetVerb};
use crate::change::{change_each, map_at, pair, split};
use crate::objects::{select, text};

/// Carries out a verb.
pub async fn run(verb: SetVerb) -> anyhow::Result<()> {
    match verb {
        SetVerb::Image(args) => image(args).await,
        SetVerb::Env(args) if args.list => list(args).await,
        SetVerb::Env(args) => env(args).await,
        SetVerb::Resources(args) => resources(args).await,
    }
}

async fn image(args: ChangeArgs) -> anyhow::Result<()> {
    let (objects, images) = split(&args.what)?;
    change_each(&objects, &args.chosen, ("image updated", None), |object| {
        for (name, image) in images.iter().map(|image| pair(image)) {
            let image = image.with_context(|| format!("write {name}=IMAGE"))?;
            each_container(object, name, |container| {
                map_at(container, &[]).map(|container| container.insert("image".to_owned(), image.into()));
            })?;
        }
        Ok(())
    })
    .await
}

async fn env(args: SetEnvArgs) -> anyhow::Result<()> {
    let (objects, changes) = split(&args.what)?;
    change_each(&objects, &args.chosen, ("env updated", None), |object| {
        each_container(object, &args.containers, |container| {
            changes.iter().for_each(|change| set_variable(container, pair(change)));
        })
    })
    .await
}

fn set_variable(container: &mut Value, (name, value): (&str, Option<&str>)) {
    let Some(container) = container.as_object_mut() else { return };
    let mut variables = container.remove("env").and_then(|env| env.as_array().cloned()).unwrap_or_default();
    let at = variables.iter().position(|variable| text(variable, "/name") == name);
    match (value.map(|value| json!({"name": name, "value": value})), at) {
        (Some(new), Some(at)) => variables.get_mut(at).into_iter().for_each(|old| *old = new.clone()),
        (Some(new), None) => variables.push(new),
        (None, _) => variables.retain(|variable| text(variable, "/name") != name),
    }
    if !variables.is_empty() {
        container.insert("env".to_owned(), variables.into());
    }
}

/// Prints the variables as kubectl does: those with values as a shell reads them, the others as comments.
async fn list(args: SetEnvArgs) -> anyhow::Result<()> {
    let client = args.chosen.cluster.client()?;
    let options = ListOptions { labels: args.chosen.selector.clone(), ..ListOptions::default() };
    for (resource, mut object) in select(&client, &args.what, Some(&args.chosen.cluster.namespace), &options).await? {
        let name = text(&object, "/metadata/name").to_owned();
        each_container(&mut object, &args.containers, |container| {
            sayln!("# {} {name}, container {}", resource.kind, text(container, "/name"));
            let variables = container.pointer("/env").and_then(Value::as_array);
            variables.into_iter().flatten().for_each(|variable| sayln!("{}", listed(variable)));
        })?;
    }
    Ok(())
}

fn listed(variable: &Value) -> String {
    let name = text(variable, "/name");
    let source = variable.pointer("/valueFrom").and_then(Value::as_object).and_then(|from| from.iter().next());
    match source.map(|(source, from)| (source.as_str(), from)) {
        None => format!("{name}={}", text(variable, "/value")),
        Some(("configMapKeyRef", from)) => {
            format!("# {name} from configmap {}, key {}", text(from, "/name"), text(from, "/key"))
        }
        Some(("secretKeyRef", from)) => {
            format!("# {name} from secret {}, key {}", text(from, "/name"), text(from, "/key"))
        }
        Some(("fieldRef", from)) => format!("# {name} from field path {}", text(from, "/fieldPath")),
        Some((_, from)) => format!("# {name} from resource {}", text(from, "/resource")),
    }
}

async fn resources(args: SetResourcesArgs) -> anyhow::Result<()> {
    let wanted = [("limits", &args.limits), ("requests", &args.requests)];
    if wanted.iter().all(|(_, amounts)| amounts.is_empty()) {
        bail!("say --limits or --requests, such as --limits cpu=200m,memory=64Mi");
    }
    change_each(&args.what, &args.chosen, ("resource requirements updated", None), |object| {
        each_container(object, &args.containers, |container| {
            for (field, amounts) in wanted {
                let Some(map) = map_at(container, &["resources", field]).filter(|_| !amounts.is_empty()) else {
                    continue;
                };
                map.extend(amounts.iter().map(|(resource, amount)| (resource.clone(), amount.as_str().into())));
            }
        })
    })
    .await
}

/// Runs over the containers of a pod or of a template that have this name, `*` for all; an error where none has.
fn each_container(object: &mut Value, name: &str, mut edit: impl FnMut(&mut Value)) -> anyhow::Result<()> {
    let kind = text(object, "/kind").to_owned();
    let place = if kind == "Pod" { "/spec" } else { "/spec/template/spec" };
    let spec = object.pointer_mut(place).and_then(Value::as_object_mut);
    let spec = spec.with_context(|| format!("a {kind} has no containers"))?;
    let mut found = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter(|container| name == "*" || text(container, "/name") == name) {
            edit(container);
            found = true;
        }
    }
    if !found {
        bail!("unable to find container named \"{name}\"");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_found_by_name() {
        let spec = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]});
        let pod = json!({"kind": "Pod", "spec": spec});
        let deployment = json!({"kind": "Deployment", "spec": {"template": {"spec": spec}}});
        for (name, expected) in [("*", "iab"), ("b", "b"), ("c", "")] {
            for mut object in [pod.clone(), deployment.clone()] {
                let mut seen = String::new();
                let done = each_container(&mut object, name, |container| seen += text(container, "/name"));
                assert_eq!((seen.as_str(), done.is_ok()), (expected, !expected.is_empty()), "{name}");
            }
        }
        assert!(each_container(&mut json!({"kind": "ConfigMap"}), "*", |_| ()).is_err());
    }

    #[test]
    fn variables_are_set_and_removed_in_place() {
        for (change, expected) in [
            ("A=1", json!([{"name": "A", "value": "1"}, {"name": "B", "value": "b"}])),
            ("C=", json!([{"name": "A", "valueFrom": {}}, {"name": "B", "value": "b"}, {"name": "C", "value": ""}])),
            ("A-", json!([{"name": "B", "value": "b"}])),
        ] {
            let mut container = json!({"env": [{"name": "A", "valueFrom": {}}, {"name": "B", "value": "b"}]});
            set_variable(&mut container, pair(change));
            assert_eq!(container["env"], expected, "{change}");
        }
        let mut container = json!({"env": [{"name": "A"}]});
        set_variable(&mut container, ("A", None));
        assert_eq!(container, json!({}));
    }

    #[test]
    fn variables_are_listed_with_their_source() {
        for (variable, line) in [
            (json!({"name": "A", "value": "1"}), "A=1"),
            (json!({"name": "A"}), "A="),
            (
                json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
                "# A from secret s, key k",
            ),
            (
                json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
                "# A from field path metadata.name",
            ),
        ] {
            assert_eq!(listed(&variable), line);
        }
    }
}
