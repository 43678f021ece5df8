//! Some time after everything was mended, what is, is what was asked for: pods, what runs, endpoints, and statuses.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{History, Pod, Workload};

/// Checks how it ended.
pub fn check(history: &History) -> Vec<String> {
    let pods = last(history.pods.iter().map(|change| (change.uid.as_str(), change.pod.as_ref())));
    let mut faults = runs(history, &pods);
    for workload in &history.end.workloads {
        faults.extend(statuses(workload, &pods));
        faults.extend(endpoints(history, workload, &pods));
    }
    faults
}

/// The present one of each name.
fn last<'a, T>(all: impl Iterator<Item = (&'a str, Option<&'a T>)>) -> BTreeMap<&'a str, &'a T> {
    let mut present = BTreeMap::new();
    for (name, version) in all {
        match version {
            Some(version) => present.insert(name, version),
            None => present.remove(name),
        };
    }
    present
}

/// What runs is what there is.
fn runs(history: &History, pods: &BTreeMap<&str, &Pod>) -> Vec<String> {
    let running: BTreeSet<&str> =
        history.runs.iter().filter(|run| run.until.is_none()).map(|run| run.uid.as_str()).collect();
    let wanted: BTreeSet<&str> = pods.iter().filter(|(_, pod)| !pod.is_over).map(|(uid, _)| *uid).collect();
    let strays = running.difference(&wanted).map(|uid| format!("at the end {uid} runs, which is no pod"));
    let missing = wanted.difference(&running).map(|uid| format!("at the end {:?} does not run", pods.get(uid)));
    strays.chain(missing).collect()
}

fn of_app<'a>(pods: &'a BTreeMap<&str, &'a Pod>, app: &'a str) -> impl Iterator<Item = (&'a str, &'a Pod)> {
    pods.iter()
        .map(|(uid, pod)| (*uid, *pod))
        .filter(move |(_, pod)| pod.app == app && !pod.is_over && !pod.is_deleting)
}

fn statuses(workload: &Workload, pods: &BTreeMap<&str, &Pod>) -> Option<String> {
    let Workload { app, wanted, updated, ready, is_observed } = workload;
    let present = of_app(pods, app).count();
    let are_ready = of_app(pods, app).filter(|(_, pod)| pod.is_ready).count();
    let is_so = *is_observed && [*updated, *ready, present, are_ready].iter().all(|count| count == wanted);
    (!is_so).then(|| format!("at the end {workload:?}, with {present} pods, of which {are_ready} are ready"))
}

fn endpoints(history: &History, workload: &Workload, pods: &BTreeMap<&str, &Pod>) -> Option<String> {
    let slices = last(history.slices.iter().map(|slice| (slice.name.as_str(), Some(&slice.ready))));
    let shown: BTreeMap<_, _> = slices.get(workload.app.as_str()).map(|ready| (*ready).clone()).unwrap_or_default();
    let ready = of_app(pods, &workload.app).filter(|(_, pod)| pod.is_ready);
    let expected: BTreeMap<_, _> =
        ready.map(|(uid, pod)| (uid.to_owned(), pod.address.clone().unwrap_or_default())).collect();
    (shown != expected).then(|| format!("at the end {} has endpoints {shown:?}, not {expected:?}", workload.app))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::history::{End, PodChange, Run, SliceChange};

    /// One pod of one workload, as everything should be.
    fn sound() -> History {
        let pod = Pod { app: "w".into(), is_ready: true, address: Some("10.0.0.1".into()), ..Pod::default() };
        let workload = Workload { app: "w".into(), wanted: 1, updated: 1, ready: 1, is_observed: true };
        let ready = [("u".to_owned(), "10.0.0.1".to_owned())].into();
        History {
            pods: vec![PodChange { at: Duration::ZERO, revision: 1, uid: "u".into(), pod: Some(pod) }],
            slices: vec![SliceChange { at: Duration::ZERO, revision: 2, name: "w".into(), ready }],
            runs: vec![Run { node: "n".into(), uid: "u".into(), from: Duration::ZERO, until: None }],
            end: End { workloads: vec![workload], ..End::default() },
            ..History::default()
        }
    }

    #[test]
    fn the_end_is_as_it_was_asked_for() {
        let faults = |change: fn(&mut History)| {
            let mut history = sound();
            change(&mut history);
            check(&history).len()
        };
        assert_eq!(faults(|_| {}), 0);
        assert_eq!(faults(|history| history.runs.clear()), 1);
        assert_eq!(faults(|history| history.runs[0].uid = "stray".into()), 2);
        assert_eq!(faults(|history| history.slices[0].ready.clear()), 1);
        assert_eq!(faults(|history| history.end.workloads[0].wanted = 2), 1);
        assert_eq!(faults(|history| history.end.workloads[0].ready = 0), 1);
        assert_eq!(faults(|history| history.end.workloads[0].is_observed = false), 1);
        assert_eq!(faults(|history| history.pods[0].pod = None), 3, "it runs, is missing, and is an endpoint yet");
    }
}
