//! Controllers through the real binary: rollouts that wait, stop and heal; deletions in each of their ways; sizes.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wherry_api::Kind;
use wherry_api::kinds::{Deployment, Node, Pod, ReplicaSet};
use wherry_client::{Api, DeleteOptions, Event, ListOptions, Propagation, WatchOptions};
use wherry_tests::{Cluster, play, until};

use crate::WHERRY;

#[test]
fn deployments_from_their_first_pod_to_their_last() {
    let cluster = Cluster::start(WHERRY).unwrap();
    cluster.load_guest("hello-http").unwrap();
    play(&[
        ("Recreate never has pods of two templates", &|| recreate(&cluster)),
        ("a rollout to nowhere stops, says so, and is undone", &|| stuck(&cluster)),
        ("orphans stay, and are adopted", &|| orphans(&cluster)),
        ("in the foreground the owner goes last", &|| foreground(&cluster)),
        ("a pod deleted by hand is replaced", &|| replaced(&cluster)),
        ("from none to five to one", &|| sizes(&cluster)),
        ("a pod without a place says why until there is one", &|| unplaceable(&cluster)),
    ]);
}

#[test]
fn a_node_that_was_thought_lost_is_back_with_its_pods() {
    let cluster = Cluster::start(WHERRY).unwrap();
    cluster.load_guest("hello-http").unwrap();
    let world = World::new(&cluster, "default", 1, "");
    world.rolled_out();
    let nodes = cluster.client().unwrap().all::<Node>();
    let lost = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    until("its pods count as ready no longer", || {
        let node = world.runtime.block_on(nodes.list(ListOptions::default()))?.items.pop().unwrap();
        let is_known =
            |node: &Node| node.status.as_ref().unwrap().conditions.iter().flatten().any(|c| c.status == "True");
        if is_known(&node) {
            world.runtime.block_on(nodes.merge_status(&node.key().name, &lost))?;
        }
        Ok(world.list::<Pod>().iter().any(is_lost).then_some(()))
    })
    .unwrap();
    // The node says that it is well with its next heartbeat, and nothing has happened to the pods.
    let before = world.pod_names();
    world.rolled_out();
    until("the node has no taints", || {
        let node = world.runtime.block_on(nodes.list(ListOptions::default()))?.items.pop().unwrap();
        Ok(node.spec.unwrap_or_default().taints.unwrap_or_default().is_empty().then_some(()))
    })
    .unwrap();
    assert_eq!(world.pod_names(), before);
}

fn is_lost(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.reason.as_deref() == Some("NodeNotReady"))
}

/// A deployment of `hello-http` in a namespace of its own.
struct World<'a> {
    cluster: &'a Cluster,
    namespace: &'static str,
    runtime: Runtime,
}

impl<'a> World<'a> {
    fn new(cluster: &'a Cluster, namespace: &'static str, replicas: u32, more: &str) -> Self {
        let manifest = format!(
            "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
{more}  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: web, image: 'hello-http:v1', env: [{{name: GENERATION, value: '1'}}], ports: [{{containerPort: 8080}}]}}]
"
        );
        cluster.apply(namespace, &manifest).unwrap();
        Self { cluster, namespace, runtime: Runtime::new().unwrap() }
    }

    fn api<K: Kind>(&self) -> Api<K> {
        self.cluster.client().unwrap().namespaced(self.namespace)
    }

    fn deployment(&self) -> Deployment {
        self.runtime.block_on(self.api::<Deployment>().get("web")).unwrap()
    }

    fn list<K: Kind>(&self) -> Vec<K> {
        self.runtime.block_on(self.api::<K>().list(ListOptions::default())).unwrap().items
    }

    fn merge(&self, patch: &Value) {
        self.runtime.block_on(self.api::<Deployment>().merge("web", patch)).unwrap();
    }

    fn delete<K: Kind>(&self, name: &str, propagation: Propagation) {
        let options = DeleteOptions { propagation, ..DeleteOptions::default() };
        self.runtime.block_on(self.api::<K>().delete(name, options)).unwrap();
    }

    /// Sets the pods' image, and with it the template.
    fn set_image(&self, image: &str, generation: &str) {
        let env = json!([{"name": "GENERATION", "value": generation}]);
        let container = json!({"name": "web", "image": image, "env": env, "ports": [{"containerPort": 8080}]});
        self.merge(&json!({"spec": {"template": {"spec": {"containers": [container]}}}}));
    }

    /// Waits until all pods wanted are there, of the present template, and no others.
    fn rolled_out(&self) {
        until(&format!("{} is rolled out", self.namespace), || {
            let deployment = self.deployment();
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            let status = deployment.status.clone().unwrap_or_default();
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            let is_done = counts.iter().all(|count| count.or(Some(0)) == wanted)
                && status.observed_generation == deployment.metadata.generation;
            Ok(is_done.then_some(()))
        })
        .unwrap();
    }

    fn condition(&self, kind: &str) -> Option<String> {
        let conditions = self.deployment().status?.conditions?;
        conditions.into_iter().find(|condition| condition.type_ == kind)?.reason
    }

    fn pod_names(&self) -> BTreeSet<String> {
        self.list::<Pod>().into_iter().filter_map(|pod| pod.metadata.name).collect()
    }
}

fn generation(pod: &Pod) -> String {
    let env = pod.spec.as_ref().and_then(|spec| spec.containers[0].env.clone()).unwrap_or_default();
    env.into_iter().find(|one| one.name == "GENERATION").and_then(|one| one.value).unwrap_or_default()
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn recreate(cluster: &Cluster) {
    let world = World::new(cluster, "recreate", 3, "  strategy: {type: Recreate}\n");
    world.rolled_out();
    let listed = world.runtime.block_on(world.api::<Pod>().list(ListOptions::default())).unwrap();
    let from = WatchOptions { resource_version: listed.resource_version, ..WatchOptions::default() };
    let mut alive: std::collections::BTreeMap<_, _> =
        listed.items.iter().map(|pod| (pod.key(), generation(pod))).collect();
    let mut events = world.runtime.block_on(world.api::<Pod>().watch(from)).unwrap();
    world.set_image("hello-http:v1", "2");
    world.rolled_out();
    world.set_image("hello-http:v1", "1");
    // Every version of every pod, in order: at no moment are there pods of both.
    let mut turns = 0;
    while turns < 2 || alive.len() < 3 {
        let event = world.runtime.block_on(futures::StreamExt::next(&mut events)).unwrap().unwrap();
        match event {
            // Its containers have ended: it is there no longer but as an object.
            Event::Applied(pod) if has_ended(&pod) => drop(alive.remove(&pod.key())),
            Event::Applied(pod) => {
                turns += usize::from(alive.is_empty());
                alive.insert(pod.key(), generation(&pod));
            }
            Event::Deleted(pod) => drop(alive.remove(&pod.key())),
            Event::Bookmark(_) => {}
        }
        let generations: BTreeSet<&String> = alive.values().collect();
        assert!(generations.len() <= 1, "{alive:?}");
    }
    world.rolled_out();
}

fn stuck(cluster: &Cluster) {
    let more = "  progressDeadlineSeconds: 3\n  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}\n";
    let world = World::new(cluster, "stuck", 4, more);
    world.rolled_out();
    world.set_image("missing:v9", "2");
    until("the rollout is stuck", || {
        Ok((world.condition("Progressing").as_deref() == Some("ProgressDeadlineExceeded")).then_some(()))
    })
    .unwrap();
    let status = world.deployment().status.unwrap();
    assert_eq!((status.available_replicas, status.updated_replicas, status.replicas), (Some(3), Some(2), Some(5)));
    assert_eq!(world.condition("Available").as_deref(), Some("MinimumReplicasAvailable"));
    let undo = cluster.wherry(&["rollout", "undo", "-n", "stuck", "deployment/web"]).unwrap();
    assert!(undo.status.success(), "{}", String::from_utf8_lossy(&undo.stderr));
    world.rolled_out();
    until("the rollout counts as complete", || {
        Ok((world.condition("Progressing").as_deref() == Some("NewReplicaSetAvailable")).then_some(()))
    })
    .unwrap();
    assert!(world.list::<Pod>().iter().all(|pod| generation(pod) == "1" || pod.metadata.deletion_timestamp.is_some()));
}

fn orphans(cluster: &Cluster) {
    let world = World::new(cluster, "orphans", 2, "");
    world.rolled_out();
    let before = world.pod_names();
    world.delete::<Deployment>("web", Propagation::Orphan);
    until("the deployment is gone", || Ok(world.list::<Deployment>().is_empty().then_some(()))).unwrap();
    let set = world.list::<ReplicaSet>().pop().unwrap();
    assert_eq!(set.metadata.owner_references.unwrap_or_default(), []);
    World::new(cluster, "orphans", 2, "").rolled_out();
    assert_eq!((world.list::<ReplicaSet>().len(), world.pod_names()), (1, before), "the set was adopted");
}

fn foreground(cluster: &Cluster) {
    let world = World::new(cluster, "foreground", 2, "");
    world.rolled_out();
    let from = world.runtime.block_on(world.api::<Deployment>().list(ListOptions::default())).unwrap().resource_version;
    let from = WatchOptions { resource_version: from, ..WatchOptions::default() };
    let mut events = world.runtime.block_on(world.api::<Deployment>().watch(from)).unwrap();
    world.delete::<Deployment>("web", Propagation::Foreground);
    loop {
        let event = world.runtime.block_on(futures::StreamExt::next(&mut events)).unwrap().unwrap();
        if matches!(event, Event::Deleted(_)) {
            break;
        }
    }
    assert_eq!((world.list::<ReplicaSet>().len(), world.list::<Pod>().len()), (0, 0));
}

fn replaced(cluster: &Cluster) {
    let world = World::new(cluster, "replaced", 2, "");
    world.rolled_out();
    let before = world.pod_names();
    let gone = before.first().unwrap();
    world.delete::<Pod>(gone, Propagation::Background);
    until("another pod is there instead", || {
        let names = world.pod_names();
        Ok((names.len() == 2 && !names.contains(gone)).then_some(()))
    })
    .unwrap();
    world.rolled_out();
}

fn sizes(cluster: &Cluster) {
    let world = World::new(cluster, "sizes", 0, "");
    world.rolled_out();
    for size in ["5", "1"] {
        let scale = cluster.wherry(&["scale", "-n", "sizes", "deployment/web", "--replicas", size]).unwrap();
        assert!(scale.status.success(), "{}", String::from_utf8_lossy(&scale.stderr));
        world.rolled_out();
        until("no pod ends any more", || Ok((world.pod_names().len().to_string() == size).then_some(()))).unwrap();
    }
    assert_eq!(world.list::<ReplicaSet>().len(), 1);
}

fn unplaceable(cluster: &Cluster) {
    let manifest = "---
apiVersion: v1
kind: Pod
metadata: {name: large}
spec:
  nodeSelector: {size: large}
  containers: [{name: web, image: 'hello-http:v1'}]
";
    cluster.apply("unplaceable", manifest).unwrap();
    let runtime = Runtime::new().unwrap();
    let client = cluster.client().unwrap();
    let pods = client.namespaced::<Pod>("unplaceable");
    let scheduled = || -> Option<(String, String)> {
        let conditions = runtime.block_on(pods.get("large")).unwrap().status?.conditions?;
        let condition = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled")?;
        Some((condition.status, condition.message.unwrap_or_default()))
    };
    let events = client.namespaced::<wherry_api::kinds::Event>("unplaceable");
    let why = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    until("the pod says why", || Ok((scheduled() == Some(("False".into(), why.into()))).then_some(()))).unwrap();
    until("an event tells it", || {
        let events = events.list(ListOptions::default());
        let told =
            runtime.block_on(events)?.items.into_iter().any(|event| {
                event.reason.as_deref() == Some("FailedScheduling") && event.message.as_deref() == Some(why)
            });
        Ok(told.then_some(()))
    })
    .unwrap();
    let nodes = client.all::<Node>();
    let node = runtime.block_on(nodes.list(ListOptions::default())).unwrap().items.pop().unwrap();
    let label = json!({"metadata": {"labels": {"size": "large"}}});
    runtime.block_on(nodes.merge(&node.key().name, &label)).unwrap();
    until("the pod has a node", || Ok(scheduled().filter(|(status, _)| status == "True"))).unwrap();
}
