//! A world in the real API, in memory, with a clock of its own and no task that runs by itself: a test says which
//! controller decides when, and what the kubelets do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use wherry_api::kinds::{Kind, Pod, ReplicaSet};
use wherry_api::{ObjectKey, Resource, resource};
use wherry_apiserver::{Identity, Registry, RegistryConfig};
use wherry_base::{Clock, Trigger};
use wherry_client::{Client, DeleteOptions, ListOptions, PatchKind, Request, Verb};
use wherry_store::{Limits, Store};

use crate::deployment::Deployments;
use crate::driver::{Controller, Events, Executor};
use crate::endpoints::ServiceEndpoints;
use crate::garbage::Garbage;
use crate::namespace::Namespaces;
use crate::plan::{Action, Item, Plan};
use crate::replicaset::ReplicaSets;
use crate::world::{Notes, View, uid};

/// A world settles long before; a controller that never does fails its test.
const ROUNDS_MAX: usize = 100;
/// The node that the kubelets of these tests are.
pub(super) const NODE: &str = "n1";

struct TestClock(Mutex<Timestamp>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(super) struct Scene {
    pub(super) client: Client,
    registry: Registry,
    clock: Arc<TestClock>,
    executor: Executor,
    /// Owners that were seen: a garbage collector is told when they go.
    seen: Mutex<BTreeSet<Item>>,
    _tasks: Trigger,
}

impl Scene {
    /// A world with these objects.
    pub(super) async fn of(objects: &str) -> Self {
        let clock = Arc::new(TestClock(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap())));
        let config = RegistryConfig::default();
        let registry = Registry::new(Store::in_memory(Limits::default()), config, clock.clone());
        registry.bootstrap().await.unwrap();
        let client = registry.client(Identity::admin());
        let tasks = Trigger::new();
        let events = Events::start(client.clone(), clock.clone(), &tasks.drain());
        let executor = Executor { source: "scene", client: client.clone(), events, notes: Arc::new(Notes::default()) };
        let scene = Self { client, registry, clock, executor, seen: Mutex::default(), _tasks: tasks };
        scene.add(objects).await;
        scene
    }

    /// A client of somebody else.
    pub(super) fn client_of(&self, user: &str, group: &str) -> Client {
        self.registry.client(Identity { user: user.to_owned(), groups: vec![group.to_owned()] })
    }

    /// Creates objects, with their statuses.
    pub(super) async fn add(&self, objects: &str) {
        for object in wherry_api::yaml::parse(objects).unwrap() {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let row = resource::find_kind(&text("/apiVersion"), &text("/kind")).expect("a known kind");
            let namespace = if row.namespaced { text("/metadata/namespace") } else { String::new() };
            let namespace = if row.namespaced && namespace.is_empty() { "default".into() } else { namespace };
            let key = ObjectKey::new(&namespace, &text("/metadata/name"));
            let status = object.get("status").map(|status| json!({"status": status}));
            self.send(row, &ObjectKey::new(&namespace, ""), "", Verb::Create(object.to_string().into())).await;
            if let Some(status) = status {
                self.send(row, &key, "status", Verb::Patch(PatchKind::Merge, status.to_string().into())).await;
            }
        }
    }

    async fn send(&self, resource: &'static Resource, key: &ObjectKey, subresource: &'static str, verb: Verb) {
        let namespace = resource.namespaced.then(|| key.namespace.to_string());
        let request = Request { resource, namespace, name: key.name.to_string(), subresource, verb };
        self.client.transport().send(request).await.unwrap();
    }

    /// Patches an object of `default`, or of the cluster.
    pub(super) async fn patch<K: Kind>(&self, name: &str, patch: Value) {
        let patch = Verb::Patch(PatchKind::Strategic, patch.to_string().into());
        self.send(K::resource(), &ObjectKey::new("default", name), "", patch).await;
    }

    /// Merges into an object's status.
    pub(super) async fn status<K: Kind>(&self, name: &str, status: Value) {
        let patch = Verb::Patch(PatchKind::Strategic, json!({"status": status}).to_string().into());
        self.send(K::resource(), &ObjectKey::new("default", name), "status", patch).await;
    }

    /// Lets time pass.
    pub(super) fn pass(&self, seconds: u64) {
        let mut now = self.clock.0.lock().unwrap();
        *now = now.checked_add(jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap())).unwrap();
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Notes which leases were renewed, as the node controller does where there are informers.
    pub(super) async fn hear(&self) {
        let view = View::read(&self.client, self.clock.now()).await;
        for (key, lease) in view.leases.iter() {
            crate::nodes::heard(&self.executor.notes, key, lease, view.now);
        }
    }

    pub(super) async fn view(&self) -> View {
        let mut view = View::read(&self.client, self.clock.now()).await;
        view.notes = self.executor.notes.snapshot();
        view
    }

    /// One decision, carried out. What was decided.
    pub(super) async fn step<C: Controller>(&self, controller: &C, key: &C::Key) -> Plan {
        let plan = controller.reconcile(&self.view().await, key);
        self.carry_out(&plan).await;
        plan
    }

    /// Carries out a plan; what fails is tried again by whoever decides next.
    pub(super) async fn carry_out(&self, plan: &Plan) {
        let (_, outcome) = self.executor.carry_out(plan.actions.clone()).await;
        if let Err(error) = outcome {
            assert!(
                matches!(error.reason, wherry_api::Reason::Conflict | wherry_api::Reason::AlreadyExists),
                "{error}"
            );
        }
    }

    /// One controller about one key, until it wants nothing more.
    pub(super) async fn settle_one<C: Controller>(&self, controller: &C, key: &C::Key) -> Vec<Action> {
        let mut all = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let plan = self.step(controller, key).await;
            if plan.actions.is_empty() {
                return all;
            }
            all.extend(plan.actions);
        }
        panic!("{} never settles: {all:?}", C::NAME)
    }

    /// All controllers about all keys, until none wants anything.
    pub(super) async fn settle(&self) {
        for _ in 0..ROUNDS_MAX {
            let keys = self.view().await;
            let mut acted = self.round(&Deployments, keys.deployments.keys()).await;
            let keys = self.view().await;
            acted += self.round(&ReplicaSets, keys.replica_sets.keys()).await;
            acted += self.round(&ServiceEndpoints, keys.services.keys().chain(keys.endpoints.keys())).await;
            acted += self.round(&Namespaces { ca_certificate: "PEM".into() }, keys.namespaces.keys()).await;
            acted += self.collect().await;
            if acted == 0 {
                return;
            }
        }
        panic!("the world never settles")
    }

    /// One decision about each key; how many actions that took.
    async fn round<'a, C: Controller>(&self, controller: &C, keys: impl Iterator<Item = &'a C::Key>) -> usize {
        let mut view = self.view().await;
        let mut acted = 0;
        for key in keys {
            let plan = controller.reconcile(&view, key);
            if !plan.actions.is_empty() {
                self.carry_out(&plan).await;
                view = self.view().await;
                acted += plan.actions.len();
            }
        }
        acted
    }

    /// One round of the garbage collector; how much it did.
    pub(super) async fn collect(&self) -> usize {
        let view = self.view().await;
        let mut items = Vec::new();
        view.each(&mut |resource, key, meta| {
            items.push(Item { resource, key: key.clone(), uid: uid(meta).into() });
        });
        let seen: Vec<Item> = {
            let mut seen = self.seen.lock().unwrap();
            seen.extend(items);
            seen.iter().cloned().collect()
        };
        self.round(&Garbage, seen.iter()).await
    }

    pub(super) async fn pods(&self) -> Vec<Pod> {
        self.client.namespaced::<Pod>("default").list(ListOptions::default()).await.unwrap().items
    }

    /// The kubelets' part: pods get a node, and become ready if their image is one of `good`.
    pub(super) async fn run_pods(&self, good: &[&str]) {
        for (index, pod) in self.pods().await.into_iter().enumerate() {
            let spec = pod.spec.as_ref().unwrap();
            let name = &pod.key().name;
            if spec.node_name.is_none() {
                let body = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": NODE}});
                self.client.namespaced::<Pod>("default").post(name, "binding", &body).await.unwrap();
            }
            let is_started = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
            let image = spec.containers[0].image.as_deref().unwrap_or_default();
            if !is_started && pod.metadata.deletion_timestamp.is_none() && good.contains(&image) {
                let ip = format!("10.128.{}.{}", index / 250, index % 250 + 1);
                let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": self.now().to_string()}]);
                self.status::<Pod>(name, json!({"phase": "Running", "podIP": ip, "conditions": ready})).await;
            }
        }
    }

    /// The kubelets' part: pods that were asked to end do so.
    pub(super) async fn end_pods(&self) {
        for pod in self.pods().await.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()) {
            let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
            self.client.namespaced::<Pod>("default").delete(&pod.key().name, now).await.unwrap();
        }
    }

    /// Settles, and lets the kubelets do their part, until nothing changes any more.
    pub(super) async fn play(&self, good: &[&str]) {
        let mut before = String::new();
        for _ in 0..ROUNDS_MAX {
            self.settle().await;
            self.run_pods(good).await;
            self.end_pods().await;
            let now = format!("{:?}", self.client.all::<Pod>().list(ListOptions::default()).await.unwrap());
            if now == before {
                return;
            }
            before = now;
        }
        panic!("the world never comes to rest")
    }

    /// The sets by revision: wanted pods, and those that count as available.
    pub(super) async fn sets(&self) -> String {
        let mut sets =
            self.client.namespaced::<ReplicaSet>("default").list(ListOptions::default()).await.unwrap().items;
        let revision = |set: &ReplicaSet| {
            let annotations = set.metadata.annotations.clone().unwrap_or_default();
            annotations.get("deployment.kubernetes.io/revision").cloned().unwrap_or_default()
        };
        sets.sort_by_key(revision);
        let line = |set: &ReplicaSet| {
            let available = set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
            format!("{}: {}/{available}", revision(set), set.spec.as_ref().unwrap().replicas.unwrap())
        };
        sets.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}

/// What a plan does, a word for each action, the same ones counted.
pub(super) fn words(plan: &Plan) -> String {
    let mut words: Vec<(String, usize)> = Vec::new();
    for action in &plan.actions {
        let word = match action {
            Action::Create { resource, .. } => format!("create {}", resource.singular),
            Action::Merge { resource, subresource, .. } => format!("patch {} {subresource}", resource.singular),
            Action::Conditions { resource, .. } => format!("conditions {}", resource.singular),
            Action::Replace { resource, .. } => format!("replace {}", resource.singular),
            Action::Delete { resource, .. } => format!("delete {}", resource.singular),
            Action::Collect { resource, .. } => format!("collect {}", resource.singular),
            Action::DeleteAll { resource, .. } => format!("delete all {}", resource.plural),
            Action::Note { note, .. } => if note.is_some() { "note" } else { "forget" }.to_owned(),
            Action::Tell(told) => format!("tell {}", told.reason),
        };
        let word = word.trim_end().to_owned();
        match words.last_mut().filter(|(last, _)| *last == word) {
            Some((_, count)) => *count += 1,
            None => words.push((word, 1)),
        }
    }
    let counted = |(word, count): (String, usize)| if count == 1 { word } else { format!("{word} *{count}") };
    words.into_iter().map(counted).collect::<Vec<_>>().join(", ")
}

/// When a plan looks again, in seconds.
pub(super) fn looks_again(plan: &Plan) -> Option<u64> {
    plan.requeue_after.map(|wait: Duration| wait.as_secs())
}
