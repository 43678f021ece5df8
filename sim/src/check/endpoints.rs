//! Endpoints are within ready pods: none that was never ready or is gone, and none much later than it was ready last.

use std::time::Duration;

use crate::history::{History, Pod, SliceChange};

/// How long a controller may take to hear that a pod was not ready any more when it wrote endpoints: a leader that was
/// just elected lists first, and one that was cut off writes nothing.
const DELAY_MOST: Duration = Duration::from_secs(10);

/// Checks the endpoints of each version against the pods as they stood.
pub fn check(history: &History) -> Vec<String> {
    let wrong = history.slices.iter().enumerate().filter_map(|(place, slice)| {
        let before = history.slices.iter().take(place).rfind(|before| before.name == slice.name);
        let is_new = |uid: &&String| before.is_none_or(|before| !before.ready.contains_key(*uid));
        let stray = slice.ready.keys().filter(is_new).find(|uid| !was_ready(history, uid, slice))?;
        Some(format!("{stray} was not ready when it became an endpoint: {slice:?}"))
    });
    wrong.collect()
}

/// Whether a pod was ready shortly before a slice was written.
fn was_ready(history: &History, uid: &str, slice: &SliceChange) -> bool {
    let versions: Vec<_> =
        history.pods.iter().filter(|change| change.uid == uid && change.revision < slice.revision).collect();
    let ends = versions.iter().skip(1).map(|next| next.at).chain([slice.at]);
    let mut lived = versions.iter().zip(ends);
    lived.any(|(change, end)| change.pod.as_ref().is_some_and(is_ready) && end + DELAY_MOST >= slice.at)
}

fn is_ready(pod: &Pod) -> bool {
    pod.is_ready && !pod.is_over
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::PodChange;

    /// A pod that is ready from 10 s to 20 s, and an endpoint that is written at `at`.
    fn is_sound(at: u64, uid: &str) -> bool {
        let moment = Duration::from_secs;
        let pod = |at: u64, is_ready| PodChange {
            at: moment(at),
            revision: at,
            uid: "u".into(),
            pod: Some(Pod { is_ready, ..Pod::default() }),
        };
        let ready = [(uid.to_owned(), "10.0.0.1".to_owned())].into();
        let history = History {
            pods: vec![pod(5, false), pod(10, true), pod(20, false)],
            slices: vec![SliceChange { at: moment(at), revision: at, name: "s".into(), ready }],
            ..History::default()
        };
        check(&history).is_empty()
    }

    #[test]
    fn an_endpoint_is_a_pod_that_is_ready() {
        assert!(is_sound(11, "u") && is_sound(21, "u"));
        assert!(!is_sound(9, "u") && !is_sound(31, "u") && !is_sound(11, "other"));
    }
}
