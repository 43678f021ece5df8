//! Runs two Deployments, each behind a Service: scales them and rolls out other images.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wherry_api::Reason;
use wherry_api::kinds::{Deployment, Kind, Service};
use wherry_client::Api;

use super::Person;
use super::keys::NAMESPACE;
use crate::net::up_to;

/// The Deployments' names, their pods' labels `app`, and the Services' names.
const APPS: [&str; 2] = ["api", "web"];

const REPLICAS_MOST: usize = 6;
const REST_MOST: Duration = Duration::from_secs(8);
const RETRY: Duration = Duration::from_millis(300);

/// Goes on until everything is mended: then what was asked for last stays.
pub async fn run(person: Person) {
    for app in APPS {
        person.ensure(&service(app)).await;
        person.ensure(&deployment(app)).await;
    }
    let api = person.client.namespaced::<Deployment>(NAMESPACE);
    while !person.orders.is_over() {
        tokio::time::sleep(up_to(&person.rng, REST_MOST)).await;
        let Some(app) = APPS.get(person.rng.below(APPS.len())) else { continue };
        let change = match person.rng.below(3) {
            0 => json!({"spec": {"template": {"metadata": {"annotations": {"round": person.rng.suffix(5)}}}}}),
            _ => json!({"spec": {"replicas": 1 + person.rng.below(REPLICAS_MOST)}}),
        };
        person.merge(&api, app, &change).await;
    }
}

impl Person {
    async fn ensure<K: Kind>(&self, object: &K) {
        let api = self.client.namespaced::<K>(NAMESPACE);
        while api.create(object).await.is_err_and(|error| error.reason != Reason::AlreadyExists) {
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn merge(&self, api: &Api<Deployment>, app: &str, change: &Value) {
        while api.merge(app, change).await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn deployment(app: &str) -> Deployment {
    object(json!({
        "metadata": {"name": app},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": app}},
            "template": {
                "metadata": {"labels": {"app": app}},
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [{"name": "c", "image": "i:1"}]},
            },
        },
    }))
}

fn service(app: &str) -> Service {
    object(json!({
        "metadata": {"name": app},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]},
    }))
}

#[expect(clippy::expect_used, reason = "what is written above is an object")]
fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}
