//! Pods and deployments.

use anyhow::bail;
use serde_json::{Map, Value, json};

use super::{labelled, map, with};
use crate::args::{DeploymentArgs, Restart, RunArgs};

/// `create deployment`.
pub fn deployment(args: &DeploymentArgs) -> anyhow::Result<Value> {
    if args.images.len() > 1 && !args.command.is_empty() {
        bail!("with several images there is no telling which of them the command is for");
    }
    let mut containers: Vec<Value> = args.images.iter().map(|image| container(image, &args.command)).collect();
    if let (Some(port), Some(Value::Object(first))) = (args.port, containers.first_mut()) {
        first.insert("ports".to_owned(), json!([{"containerPort": port}]));
    }
    let labels = Map::from_iter([("app".to_owned(), Value::from(args.name.as_str()))]);
    let spec = json!({
        "replicas": args.replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
    });
    Ok(with(labelled("apps/v1", "Deployment", &args.name, labels), "spec", spec))
}

fn container(image: &str, command: &[String]) -> Value {
    let container = json!({"name": container_name(image), "image": image});
    if command.is_empty() { container } else { with(container, "command", command.into()) }
}

/// The image's last part, without tag and digest, as far as a container may be called so.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    let name = last.split(['@', ':']).next().unwrap_or_default().to_lowercase();
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(fit).collect::<String>().trim_matches('-').to_owned()
}

/// `run`.
pub fn pod(args: &RunArgs) -> Value {
    let own = [("run".to_owned(), args.name.clone())];
    let labels = map(if args.labels.is_empty() { &own } else { &args.labels });
    let mut container = json!({"name": args.name, "image": args.image});
    let mut field = |name: &str, value: Value| container = with(container.take(), name, value);
    if let Some(policy) = &args.image_pull_policy {
        field("imagePullPolicy", policy.as_str().into());
    }
    if let Some(port) = args.port {
        field("ports", json!([{"containerPort": port}]));
    }
    if !args.env.is_empty() {
        field("env", args.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect());
    }
    if !args.arguments.is_empty() {
        field(if args.command { "command" } else { "args" }, args.arguments.as_slice().into());
    }
    let restart = match args.restart {
        Restart::Always => "Always",
        Restart::OnFailure => "OnFailure",
        Restart::Never => "Never",
    };
    let spec = json!({"containers": [container], "restartPolicy": restart});
    with(labelled("v1", "Pod", &args.name, labels), "spec", spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_named_after_their_images() {
        for (image, name) in
            [("hello-http:v1", "hello-http"), ("localhost:5000/team/App_x@sha256:00", "app-x"), ("ghcr.io/a/b", "b")]
        {
            assert_eq!(container_name(image), name, "{image}");
        }
    }
}
