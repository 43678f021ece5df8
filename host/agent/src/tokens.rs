//! Tokens of service accounts for a pod's volumes, where the cluster makes them (TokenRequest): kept while they are good, and asked
//! for anew at four fifths of their life, as a kubelet does. They end with the pod, to which they are bound.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PodSpec, ServiceAccountTokenProjection};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use wherry_api::kinds::{Kind, Pod, ServiceAccount};
use wherry_api::{Error, Reason};
use wherry_client::{Client, Request, Verb};
use wherry_runtime::PodRef;

/// What Kubernetes fills in where a volume names no time.
const SECONDS_DEFAULT: i64 = 3600;
/// The least time between two requests for one token: a clock that is wrong makes no flood.
const RENEWAL_LEAST: Duration = Duration::from_secs(60);

/// What a volume asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Empty for the API server itself.
    audience: String,
    seconds: i64,
}

/// The tokens of one pod.
#[derive(Default)]
pub struct Tokens(tokio::sync::Mutex<BTreeMap<Wanted, Held>>);

struct Held {
    text: String,
    renewal: Instant,
}

/// What a pod's volumes are made with.
#[derive(Default)]
pub struct Given {
    /// Those that there are; none where the cluster makes none.
    pub texts: BTreeMap<Wanted, String>,
    /// When the first of those that are new is to be renewed.
    pub renewal: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    status: AnswerStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerStatus {
    token: String,
    expiration_timestamp: Timestamp,
}

impl Wanted {
    pub fn of(projection: &ServiceAccountTokenProjection) -> Self {
        let audience = projection.audience.clone().unwrap_or_default();
        Self { audience, seconds: projection.expiration_seconds.unwrap_or(SECONDS_DEFAULT) }
    }

    fn all(spec: &PodSpec) -> BTreeSet<Self> {
        let projected = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
        let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
        sources.filter_map(|source| source.service_account_token.as_ref()).map(Self::of).collect()
    }
}

impl Tokens {
    /// Those that the volumes of a pod ask for.
    pub async fn of(&self, client: &Client, pod: &PodRef, object: &Pod, now: Timestamp) -> Result<Given, Error> {
        let Some(spec) = &object.spec else { return Ok(Given::default()) };
        let account = spec.service_account_name.as_deref().unwrap_or("default");
        let (mut held, mut given) = (self.0.lock().await, Given::default());
        for wanted in Wanted::all(spec) {
            let good = held.get(&wanted).filter(|held| Instant::now() < held.renewal).map(|held| held.text.clone());
            let text = match good {
                Some(text) => text,
                None => match request(client, pod, account, &wanted, now).await {
                    Err(error) if error.reason == Reason::NotFound => continue,
                    fresh => {
                        let fresh = fresh?;
                        given.renewal = Some(given.renewal.map_or(fresh.renewal, |first| first.min(fresh.renewal)));
                        let text = fresh.text.clone();
                        held.insert(wanted.clone(), fresh);
                        text
                    }
                },
            };
            given.texts.insert(wanted, text);
        }
        Ok(given)
    }
}

async fn request(client: &Client, pod: &PodRef, account: &str, wanted: &Wanted, now: Timestamp) -> Result<Held, Error> {
    let audiences: Vec<&str> =
        Some(wanted.audience.as_str()).filter(|audience| !audience.is_empty()).into_iter().collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": audiences, "expirationSeconds": wanted.seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid},
        },
    });
    let request = Request {
        resource: ServiceAccount::resource(),
        namespace: Some(pod.namespace.clone()),
        name: account.to_owned(),
        subresource: "token",
        verb: Verb::Create(body.to_string().into()),
    };
    let since = Instant::now();
    let answer = client.transport().send(request).await?;
    let Answer { status } = serde_json::from_slice(&answer)
        .map_err(|error| Error::new(Reason::InternalError, format!("unreadable token of {account}: {error}")))?;
    let life = Duration::try_from(status.expiration_timestamp.duration_since(now)).unwrap_or_default();
    Ok(Held { text: status.token, renewal: since + (life * 4 / 5).max(RENEWAL_LEAST) })
}
