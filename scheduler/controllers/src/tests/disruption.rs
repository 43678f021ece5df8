//! What disruption budgets let go.

use serde_json::json;
use wherry_api::ObjectKey;
use wherry_api::kinds::{Deployment, PodDisruptionBudget};
use wherry_fixture::Pod;

use super::scene::Scene;
use crate::disruption::DisruptionBudgets;

/// Desired, healthy, expected, allowed.
async fn status(scene: &Scene, name: &str) -> [i32; 4] {
    scene.settle_one(&DisruptionBudgets, &ObjectKey::new("default", name)).await;
    let budget = scene.client.namespaced::<PodDisruptionBudget>("default").get(name).await.unwrap();
    let status = budget.status.unwrap();
    assert_eq!(status.observed_generation, budget.metadata.generation);
    [status.desired_healthy, status.current_healthy, status.expected_pods, status.disruptions_allowed]
        .map(Option::unwrap_or_default)
}

fn budget(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: {name}}}\nspec: {{selector: {{matchLabels: {{app: web}}}}, {spec}}}\n"
    )
}

fn pods(names: &[&str]) -> String {
    names.iter().map(|name| Pod::named(name).metadata("labels: {app: web}").to_string()).collect()
}

#[tokio::test]
async fn pods_that_nobody_controls_count_as_themselves() {
    let scene = Scene::of(&pods(&["a", "b", "c"])).await;
    scene.run_pods(&["i"]).await;
    let budgets = [
        ("two", "minAvailable: 2"),
        ("half", "minAvailable: 50%"),
        ("one", "maxUnavailable: 1"),
        ("all", "minAvailable: 3"),
    ];
    scene.add(&budgets.map(|(name, spec)| budget(name, spec)).concat()).await;
    assert_eq!(status(&scene, "two").await, [2, 3, 3, 1]);
    assert_eq!(status(&scene, "half").await, [2, 3, 3, 1], "a part is rounded up");
    assert_eq!(status(&scene, "one").await, [2, 3, 3, 1]);
    assert_eq!(status(&scene, "all").await, [3, 3, 3, 0]);
    scene.add(&budget("none", "minAvailable: 1").replace("app: web", "app: other")).await;
    assert_eq!(status(&scene, "none").await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_deployment_counts_as_what_it_wants() {
    let template = "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}";
    let scene = Scene::of(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {{replicas: 4, selector: {{matchLabels: {{app: web}}}}, {template}}}\n{}",
        budget("part", "maxUnavailable: 25%")
    ))
    .await;
    scene.play(&["i"]).await;
    assert_eq!(status(&scene, "part").await, [3, 4, 4, 1]);
    // What is wanted and not there yet is missing, not allowed to be.
    scene.patch::<Deployment>("web", json!({"spec": {"replicas": 8}})).await;
    assert_eq!(status(&scene, "part").await, [6, 4, 8, 0]);
}

#[tokio::test]
async fn an_eviction_counts_until_it_shows() {
    let scene = Scene::of(&pods(&["a", "b"])).await;
    scene.run_pods(&["i"]).await;
    scene.add(&budget("one", "minAvailable: 0")).await;
    assert_eq!(status(&scene, "one").await, [0, 2, 2, 2]);
    let disrupted = json!({"disruptedPods": {"a": scene.now().to_string(), "gone": scene.now().to_string()}});
    scene.status::<PodDisruptionBudget>("one", disrupted).await;
    assert_eq!(status(&scene, "one").await, [0, 1, 2, 1]);
    scene.pass(120);
    assert_eq!(status(&scene, "one").await, [0, 2, 2, 2], "it never came");
}
