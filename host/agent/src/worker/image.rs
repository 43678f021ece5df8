//! A container's image: by its pull policy, with the pod's logins, told of in a kubelet's words.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container as ContainerFields;
use tokio::time::Instant;
use wherry_api::kinds::Pod;
use wherry_api::{Login, References};
use wherry_runtime::{Fetch, Image, ImageRequest, PullPolicy, Runtime};

use super::Worker;
use crate::objects;
use crate::pod::{Hindrance, Role};

/// How often it is told how far the fetching of one image is.
const UNDERWAY_TOLD_MAX: u32 = 8;

/// What became of the fetching of an image, so far. Pure.
#[derive(Default)]
struct Fetching {
    since: Option<Timestamp>,
    size_bytes: u64,
    told: u32,
}

impl Worker {
    /// The container's image, made ready, and the runtime that took it.
    pub(super) async fn image(
        &self,
        pod: &Pod,
        index: usize,
        fields: &ContainerFields,
    ) -> Result<(Arc<dyn Runtime>, Image), Hindrance> {
        let reference = fields.image.as_deref().unwrap_or_default();
        let policy = match fields.image_pull_policy.as_deref() {
            Some("Always") => PullPolicy::Always,
            Some("Never") => PullPolicy::Never,
            _ => PullPolicy::IfNotPresent,
        };
        let init = self.inspect(|state| state.outline.containers.get(index).is_some_and(|o| o.role != Role::Main));
        let emit = |reason, message| {
            self.context.recorder.pod(&self.pod, Some((&fields.name, init)), false, reason, message);
        };
        let clock = &self.context.clock;
        let fetching = Mutex::new(Fetching::default());
        let tell = |fetch| {
            let mut fetching = fetching.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(message) = fetching.note(fetch, reference, clock.now()) {
                emit("Pulling", message);
            }
        };
        let logins = self.logins(pod).await;
        let wanted = ImageRequest { reference, policy, logins: &logins, tell: &tell };
        let ready = self.context.runtimes.prepare(pod, &wanted).await;
        let (runtime, image) =
            ready.map_err(|error| Hindrance { reason: error.reason(), message: error.to_string() })?;
        self.context.images.used(&image.digest, Instant::now());
        let fetching = fetching.into_inner().unwrap_or_else(PoisonError::into_inner);
        emit("Pulled", fetching.outcome(reference, clock.now()));
        Ok((Arc::clone(runtime), image))
    }

    /// The pod's logins. Without one of them an image may be had all the same: it is on the node, or anybody's.
    async fn logins(&self, pod: &Pod) -> Vec<Login> {
        let named = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
        let (mut secrets, mut missing) = (Vec::new(), Vec::new());
        for secret in named {
            let names = References { secrets: [secret.name.clone()].into(), ..References::default() };
            match objects::fetch(&self.context.client, &self.pod.namespace, &names).await {
                Ok(found) if !found.secrets.is_empty() => secrets.extend(found.secrets.into_values()),
                _ => missing.push(secret.name.as_str()),
            }
        }
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            self.context.recorder.pod(&self.pod, None, true, "FailedToRetrieveImagePullSecret", message);
        }
        Login::of_secrets(secrets.iter())
    }
}

impl Fetching {
    /// What is to be told.
    fn note(&mut self, fetch: Fetch, reference: &str, at: Timestamp) -> Option<String> {
        match fetch {
            Fetch::Begun if self.since.is_none() => {
                self.since = Some(at);
                Some(format!("Pulling image \"{reference}\""))
            }
            Fetch::Underway(message) if self.told < UNDERWAY_TOLD_MAX => {
                self.told += 1;
                Some(message)
            }
            Fetch::Done { size_bytes } => {
                self.size_bytes = size_bytes;
                None
            }
            Fetch::Begun | Fetch::Underway(_) => None,
        }
    }

    fn outcome(&self, reference: &str, at: Timestamp) -> String {
        let Some(since) = self.since else {
            return format!("Container image \"{reference}\" already present on machine");
        };
        let took = spoken(Duration::try_from(at.duration_since(since)).unwrap_or_default());
        let size_bytes = self.size_bytes;
        format!(
            "Successfully pulled image \"{reference}\" in {took} ({took} including waiting). Image size: {size_bytes} bytes."
        )
    }
}

/// As Go prints it, in whole milliseconds: `1m2.5s`, `320ms`.
fn spoken(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return format!("{}ms", duration.as_millis());
    }
    let (minutes, seconds, milli) = (duration.as_secs() / 60, duration.as_secs() % 60, duration.subsec_millis());
    let minutes = if minutes > 0 { format!("{minutes}m") } else { String::new() };
    let fraction = format!(".{milli:03}");
    format!("{minutes}{seconds}{}s", fraction.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_is_told_as_a_kubelet_does() {
        let at = |milli| Timestamp::from_millisecond(milli).unwrap();
        let mut fetching = Fetching::default();
        assert_eq!(fetching.outcome("i", at(0)), "Container image \"i\" already present on machine");
        assert_eq!(fetching.note(Fetch::Begun, "i", at(0)).unwrap(), "Pulling image \"i\"");
        assert_eq!(fetching.note(Fetch::Begun, "i", at(1)), None);
        let mut underway = || fetching.note(Fetch::Underway("half".into()), "i", at(2));
        assert_eq!((0..20).filter_map(|_| underway()).count(), 8);
        assert_eq!(fetching.note(Fetch::Done { size_bytes: 7 }, "i", at(3)), None);
        assert_eq!(
            fetching.outcome("i", at(1500)),
            "Successfully pulled image \"i\" in 1.5s (1.5s including waiting). Image size: 7 bytes."
        );
    }

    #[test]
    fn durations_are_spoken_as_go_does() {
        for (milli, expected) in [(0, "0ms"), (320, "320ms"), (1000, "1s"), (1234, "1.234s"), (62_500, "1m2.5s")] {
            assert_eq!(spoken(Duration::from_millis(milli)), expected);
        }
    }
}
