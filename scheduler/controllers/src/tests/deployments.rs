//! Deployments: the rollout's bounds, Recreate, pause, the deadline, sizes in proportion, history.

use serde_json::{Value, json};
use wherry_api::ObjectKey;
use wherry_api::kinds::{Deployment, Kind, ReplicaSet};
use wherry_client::{DeleteOptions, ListOptions, Propagation};
use wherry_fixture as fixture;

use super::scene::{Scene, looks_again, words};
use crate::deployment::Deployments;
use crate::driver::Controller;
use crate::replicaset::ReplicaSets;

fn web(replicas: usize, more: &str) -> String {
    fixture::deployment("web", replicas, more)
}

fn key() -> ObjectKey {
    ObjectKey::new("default", "web")
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

async fn deployment(scene: &Scene) -> Deployment {
    scene.client.namespaced::<Deployment>("default").get("web").await.unwrap()
}

/// Status and reason of a condition.
async fn condition(scene: &Scene, kind: &str) -> String {
    let conditions = deployment(scene).await.status.unwrap_or_default().conditions.unwrap_or_default();
    let found = conditions.iter().find(|condition| condition.type_ == kind);
    found.map_or_else(String::new, |c| format!("{} {}", c.status, c.reason.clone().unwrap_or_default()))
}

async fn count(scene: &Scene, is_counted: impl Fn(&wherry_api::kinds::Pod) -> bool) -> usize {
    scene.pods().await.iter().filter(|pod| is_counted(pod)).count()
}

#[tokio::test]
async fn a_rollout_keeps_its_bounds_at_every_step_and_ends() {
    let strategy = "  strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}\n";
    let scene = Scene::of(&web(10, strategy)).await;
    scene.play(&["i:1"]).await;
    assert_eq!(condition(&scene, "Progressing").await, "True NewReplicaSetAvailable");
    scene.patch::<Deployment>("web", image("i:2")).await;
    let is_ready = |pod: &wherry_api::kinds::Pod| {
        pod.metadata.deletion_timestamp.is_none() && pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some())
    };
    for _ in 0..20 {
        scene.settle().await;
        let all = count(&scene, |pod| pod.metadata.deletion_timestamp.is_none()).await;
        let ready = count(&scene, is_ready).await;
        assert!(all <= 13 && ready >= 8, "{all} pods, {ready} ready");
        scene.run_pods(&["i:1", "i:2"]).await;
        scene.end_pods().await;
    }
    assert_eq!(scene.sets().await, "1: 0/0, 2: 10/10");
    let status = deployment(&scene).await.status.unwrap();
    assert_eq!(
        (status.updated_replicas, status.unavailable_replicas, status.terminating_replicas),
        (Some(10), None, Some(0))
    );
    assert_eq!(condition(&scene, "Available").await, "True MinimumReplicasAvailable");
    let plan = Deployments.reconcile(&scene.view().await, &key());
    assert_eq!((words(&plan), looks_again(&plan)), (String::new(), None), "a settled rollout wants nothing");
}

#[tokio::test]
async fn recreate_waits_until_the_last_old_pod_has_ended() {
    let scene = Scene::of(&web(3, "  strategy: {type: Recreate}\n")).await;
    scene.play(&["i:1"]).await;
    scene.patch::<Deployment>("web", image("i:2")).await;
    scene.settle().await;
    assert_eq!(scene.sets().await, "1: 0/0", "the new set is not even made while old pods end");
    assert_eq!(count(&scene, |pod| pod.metadata.deletion_timestamp.is_some()).await, 3);
    assert_eq!(condition(&scene, "Available").await, "False MinimumReplicasUnavailable");
    scene.end_pods().await;
    scene.play(&["i:2"]).await;
    assert_eq!(scene.sets().await, "1: 0/0, 2: 3/3");
    // Back to the set that is there already: the same holds.
    scene.patch::<Deployment>("web", image("i:1")).await;
    scene.settle().await;
    assert_eq!(scene.sets().await, "2: 0/0, 3: 0/0");
    scene.play(&["i:1"]).await;
    assert_eq!(scene.sets().await, "2: 0/0, 3: 3/3");
}

#[tokio::test]
async fn a_rollout_that_cannot_go_on_says_so_and_undo_heals_it() {
    let more = "  progressDeadlineSeconds: 60\n  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}\n";
    let scene = Scene::of(&web(4, more)).await;
    scene.play(&["i:1"]).await;
    scene.patch::<Deployment>("web", image("bad")).await;
    scene.play(&["i:1"]).await;
    assert_eq!(scene.sets().await, "1: 3/3, 2: 2/0", "it stops at what may be unavailable");
    assert_eq!(condition(&scene, "Progressing").await, "True ReplicaSetUpdated");
    let plan = Deployments.reconcile(&scene.view().await, &key());
    assert_eq!((words(&plan), looks_again(&plan)), (String::new(), Some(61)));
    scene.pass(61);
    scene.play(&["i:1"]).await;
    assert_eq!(condition(&scene, "Progressing").await, "False ProgressDeadlineExceeded");
    assert_eq!(condition(&scene, "Available").await, "True MinimumReplicasAvailable");
    scene.patch::<Deployment>("web", image("i:1")).await;
    scene.play(&["i:1"]).await;
    assert_eq!(scene.sets().await, "2: 0/0, 3: 4/4");
    assert_eq!(condition(&scene, "Progressing").await, "True NewReplicaSetAvailable");
    // A complete rollout does not become a stuck one because a pod fails later.
    let pod = scene.pods().await[0].key();
    let unready = json!({"conditions": [{"type": "Ready", "status": "False"}]});
    scene.status::<wherry_api::kinds::Pod>(&pod.name, unready).await;
    scene.pass(1000);
    scene.settle().await;
    assert_eq!(condition(&scene, "Progressing").await, "True NewReplicaSetAvailable");
}

/// The example of Kubernetes' own documentation.
#[tokio::test]
async fn a_change_of_size_amid_a_rollout_is_shared_out_in_proportion() {
    for paused in [false, true] {
        let strategy = "  strategy: {rollingUpdate: {maxSurge: 3, maxUnavailable: 2}}\n";
        let scene = Scene::of(&web(10, strategy)).await;
        scene.play(&["i:1"]).await;
        scene.patch::<Deployment>("web", image("bad")).await;
        scene.play(&["i:1"]).await;
        assert_eq!(scene.sets().await, "1: 8/8, 2: 5/0");
        scene.patch::<Deployment>("web", json!({"spec": {"replicas": 15, "paused": paused}})).await;
        let plan = scene.step(&Deployments, &key()).await;
        assert_eq!(scene.sets().await, "1: 11/8, 2: 7/0", "{}", words(&plan));
        scene.play(&["i:1"]).await;
        // 13 of 15 must be available, and 11 are: nothing more happens.
        assert_eq!(scene.sets().await, "1: 11/11, 2: 7/0");
        scene.patch::<Deployment>("web", json!({"spec": {"replicas": 5}})).await;
        scene.step(&Deployments, &key()).await;
        assert_eq!(scene.sets().await, "1: 5/11, 2: 3/0");
        scene.patch::<Deployment>("web", json!({"spec": {"replicas": 0}})).await;
        scene.play(&["i:1"]).await;
        assert_eq!(scene.sets().await, "1: 0/0, 2: 0/0");
    }
}

#[tokio::test]
async fn a_paused_deployment_is_sized_but_not_rolled() {
    let scene = Scene::of(&web(2, "  paused: true\n  revisionHistoryLimit: 0\n")).await;
    scene.play(&["i:1"]).await;
    assert_eq!(
        (scene.sets().await.as_str(), condition(&scene, "Progressing").await.as_str()),
        ("", "Unknown DeploymentPaused")
    );
    scene.patch::<Deployment>("web", json!({"spec": {"paused": false}})).await;
    scene.play(&["i:1"]).await;
    assert_eq!(scene.sets().await, "1: 2/2");
    scene.patch::<Deployment>("web", json!({"spec": {"paused": true}})).await;
    scene.patch::<Deployment>("web", image("i:2")).await;
    scene.patch::<Deployment>("web", json!({"spec": {"replicas": 3}})).await;
    scene.play(&["i:1", "i:2"]).await;
    assert_eq!(scene.sets().await, "1: 3/3");
    let observed = deployment(&scene).await;
    assert_eq!(observed.status.unwrap().observed_generation, observed.metadata.generation);
    scene.patch::<Deployment>("web", json!({"spec": {"paused": false}})).await;
    scene.play(&["i:1", "i:2"]).await;
    assert_eq!(scene.sets().await, "2: 3/3", "and no history is kept, as was asked");
}

#[tokio::test]
async fn availability_takes_its_time() {
    let scene = Scene::of(&web(2, "  minReadySeconds: 30\n")).await;
    scene.play(&["i:1"]).await;
    assert_eq!(scene.sets().await, "1: 2/0");
    let set = scene.view().await.replica_sets.keys().next().unwrap().clone();
    scene.pass(10);
    let plan = ReplicaSets.reconcile(&scene.view().await, &set);
    assert_eq!((words(&plan), looks_again(&plan)), (String::new(), Some(20)));
    scene.pass(20);
    scene.settle().await;
    assert_eq!(scene.sets().await, "1: 2/2");
    // The set follows when the deployment changes its mind.
    scene.patch::<Deployment>("web", json!({"spec": {"minReadySeconds": 90}})).await;
    scene.settle().await;
    assert_eq!(scene.sets().await, "1: 2/0");
}

#[tokio::test]
async fn history_is_numbered_kept_and_cleared() {
    let scene = Scene::of(&web(1, "  revisionHistoryLimit: 2\n")).await;
    let good = ["i:1", "i:2", "i:3", "i:4"];
    scene.play(&good).await;
    for next in ["i:2", "i:3", "i:2", "i:4"] {
        scene.patch::<Deployment>("web", image(next)).await;
        scene.play(&good).await;
    }
    assert_eq!(scene.sets().await, "3: 0/0, 4: 0/0, 5: 1/1");
    let revision = "deployment.kubernetes.io/revision";
    assert_eq!(deployment(&scene).await.metadata.annotations.unwrap()[revision], "5");
    let sets = scene.client.namespaced::<ReplicaSet>("default").list(ListOptions::default()).await.unwrap().items;
    let histories = sets
        .iter()
        .filter_map(|set| set.metadata.annotations.as_ref()?.get("deployment.kubernetes.io/revision-history"));
    assert_eq!(histories.collect::<Vec<_>>(), ["2"]);
}

#[tokio::test]
async fn a_name_that_is_taken_is_gone_round() {
    let scene = Scene::of(&web(1, "")).await;
    scene.settle().await;
    let name = scene.view().await.replica_sets.keys().next().unwrap().name.to_string();
    scene.client.namespaced::<Deployment>("default").delete("web", DeleteOptions::default()).await.unwrap();
    scene.settle().await;
    assert!(scene.view().await.replica_sets.is_empty());
    let other = web(0, "").replace("kind: Deployment", "kind: ReplicaSet").replace("app: web", "app: other");
    scene.add(&other.replace("name: web", &format!("name: {name}"))).await;
    scene.add(&web(1, "")).await;
    scene.play(&["i:1"]).await;
    let status = deployment(&scene).await.status.unwrap();
    assert_eq!((status.collision_count, status.available_replicas), (Some(1), Some(1)));
}

#[tokio::test]
async fn orphaned_sets_are_adopted_and_strange_ones_released() {
    let scene = Scene::of(&web(2, "")).await;
    scene.play(&["i:1"]).await;
    let pods: Vec<_> = scene.pods().await.iter().map(Kind::key).collect();
    let orphan = DeleteOptions { propagation: Propagation::Orphan, ..DeleteOptions::default() };
    scene.client.namespaced::<Deployment>("default").delete("web", orphan).await.unwrap();
    scene.play(&["i:1"]).await;
    assert_eq!(scene.sets().await, "1: 2/2");
    scene.add(&web(2, "")).await;
    scene.play(&["i:1"]).await;
    assert_eq!(scene.sets().await, "1: 2/2");
    assert_eq!(scene.pods().await.iter().map(Kind::key).collect::<Vec<_>>(), pods, "no pod was touched");
    let set = scene.view().await.replica_sets.keys().next().unwrap().name.to_string();
    scene.patch::<ReplicaSet>(&set, json!({"metadata": {"labels": {"app": "strange"}}})).await;
    scene.step(&Deployments, &key()).await;
    let set = scene.client.namespaced::<ReplicaSet>("default").get(&set).await.unwrap();
    assert_eq!(set.metadata.owner_references.unwrap_or_default(), []);
}

#[tokio::test]
async fn a_stale_view_does_no_harm() {
    let strategy = "  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}\n";
    let scene = Scene::of(&web(3, strategy)).await;
    scene.play(&["i:1"]).await;
    scene.patch::<Deployment>("web", image("i:2")).await;
    let mut views = Vec::new();
    for _ in 0..30 {
        views.push(scene.view().await);
        for view in views.iter().rev().take(3) {
            let plan = Deployments.reconcile(view, &key());
            scene.carry_out(&plan).await;
        }
        for set in scene.view().await.replica_sets.keys() {
            scene.step(&ReplicaSets, set).await;
        }
        scene.run_pods(&["i:1", "i:2"]).await;
        let all = count(&scene, |pod| pod.metadata.deletion_timestamp.is_none()).await;
        assert!((3..=4).contains(&all), "{all} pods: {}", scene.sets().await);
        scene.end_pods().await;
    }
    assert_eq!(scene.sets().await, "1: 0/0, 2: 3/3");
}
