//! The driver with a controller of the test's own.

use std::sync::Arc;

use tokio::sync::mpsc;
use wherry_api::ObjectKey;
use wherry_api::kinds::Namespace;
use wherry_apiserver::{Identity, Registry, RegistryConfig};
use wherry_base::{SystemClock, Trigger};
use wherry_store::{Limits, Store};

use crate::driver::{Controller, Driver, Events, Sources};
use crate::plan::Plan;
use crate::world::{View, World};

/// More than there are workers.
const BAD: usize = 9;

/// Panics over some objects, and tells of the others.
struct Touchy(mpsc::Sender<String>);

impl Controller for Touchy {
    const NAME: &'static str = "touchy";
    type Key = ObjectKey;

    fn follow(&self, world: &Arc<World>, sources: &Sources<ObjectKey>) {
        sources.follow_own(&world.namespaces);
    }

    fn reconcile(&self, _: &View, key: &ObjectKey) -> Plan {
        assert!(!key.name.starts_with("bad"), "this controller has a bug");
        let _enough_told = self.0.try_send(key.name.to_string());
        Plan::nothing()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_a_decision_panics_over_holds_up_no_other() {
    let (store, clock) = (Store::in_memory(Limits::default()), SystemClock::shared());
    let registry = Registry::new(store, RegistryConfig::default(), Arc::clone(&clock));
    registry.bootstrap().await.unwrap();
    let (client, tasks) = (registry.client(Identity::component("controllers")), Trigger::new());
    let drain = tasks.drain();
    let world = Arc::new(World::start(&client, &drain));
    let events = Events::start(client.clone(), Arc::clone(&clock), &drain);
    let (told, mut decided) = mpsc::channel(64);
    Driver { world, events, client, clock, drain }.run(Touchy(told));
    let namespaces = registry.client(Identity::admin()).all::<Namespace>();
    let create = async |name: String| {
        let object = serde_json::json!({"metadata": {"name": name}});
        namespaces.create(&serde_json::from_value(object).unwrap()).await.unwrap();
    };
    for number in 0..BAD {
        create(format!("bad-{number}")).await;
    }
    create("good".to_owned()).await;
    while decided.recv().await.unwrap() != "good" {}
}
