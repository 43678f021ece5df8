//! A pod runs on the node that it is bound to, no longer than until others may have been given what it was for, and never
//! longer than it is an object: another of its name may be one then.
//!
//! A node that the masters do not hear stops its pods itself. When they mark a pod for deletion because its node is
//! unreachable, a replacement may start at once, so the pod must have ended by then. Other deletions take their time, and so
//! does one that was decided while the node was silent, and comes when it is heard again: the node is told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{History, NodeChange, PodChange, Run};
use crate::master::NODE_GRACE;
use crate::world::STEP;

/// How exact the moments of a history are.
const EXACT: Duration = STEP;

/// Checks what ran against what was bound.
pub fn check(history: &History) -> Vec<String> {
    let handed_over: Vec<_> = handovers(history).collect();
    let gone: BTreeMap<_, _> =
        history.pods.iter().filter(|change| change.pod.is_none()).map(|gone| (gone.uid.as_str(), gone.at)).collect();
    let wrong = history.runs.iter().filter_map(|run| {
        if !is_bound(history, run) {
            return Some(format!("it is not bound to that node: {run:?}"));
        }
        let ends = run.until.unwrap_or(Duration::MAX);
        if let Some(at) = gone.get(run.uid.as_str()).filter(|at| ends > **at + EXACT) {
            return Some(format!("it ran on after {at:?}, when there was no such pod any more: {run:?}"));
        }
        let mut after = handed_over.iter().filter(|(uid, at)| *uid == run.uid && ends > *at + EXACT);
        after.next().map(|(_, at)| format!("it ran on after {at:?}, when it was given to others: {run:?}"))
    });
    wrong.collect()
}

fn is_bound(history: &History, run: &Run) -> bool {
    let mut versions = history.pods.iter().filter(|change| change.uid == run.uid && change.at <= run.from + EXACT);
    versions.any(|change| change.pod.as_ref().is_some_and(|pod| pod.node.as_ref() == Some(&run.node)))
}

/// When pods were marked for deletion because their node was unreachable.
fn handovers(history: &History) -> impl Iterator<Item = (&str, Duration)> {
    history.pods.iter().enumerate().filter_map(|(place, change)| {
        let pod = change.pod.as_ref().filter(|pod| pod.is_deleting && history.evicted.contains(&change.uid))?;
        let mut earlier = history.pods.iter().take(place).filter(|earlier| earlier.uid == change.uid);
        let was_deleting = earlier.next_back().is_some_and(is_deleting);
        let node = pod.node.as_deref()?;
        let is_lost = is_unreachable(history, node, change.revision) && !is_heard(history, node, change.at);
        (is_lost && !was_deleting).then_some((change.uid.as_str(), change.at))
    })
}

fn is_deleting(change: &PodChange) -> bool {
    change.pod.as_ref().is_some_and(|pod| pod.is_deleting)
}

fn is_unreachable(history: &History, node: &str, revision: u64) -> bool {
    let of_node = |change: &&NodeChange| change.node == node && change.revision <= revision;
    history.nodes.iter().rfind(of_node).is_some_and(|change| change.is_unreachable)
}

/// Whether a node was heard within the time that it may be silent.
fn is_heard(history: &History, node: &str, at: Duration) -> bool {
    let heard = history.heard.get(node).into_iter().flatten();
    heard.rev().find(|heard| **heard <= at).is_some_and(|heard| *heard + NODE_GRACE > at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Pod;

    /// A pod of node `a`, whose node is unreachable from 30 s to 50 s, marked for deletion at `deleted`.
    fn is_sound(deleted: Option<u64>, node: &str, from: u64, until: Option<u64>) -> bool {
        is_sound_of(&["u"], deleted, node, from, until)
    }

    fn is_sound_of(evicted: &[&str], deleted: Option<u64>, node: &str, from: u64, until: Option<u64>) -> bool {
        let moment = Duration::from_secs;
        let pod = |at: u64, is_deleting| PodChange {
            at: moment(at),
            revision: at,
            uid: "u".into(),
            pod: Some(Pod { node: Some("a".into()), is_deleting, ..Pod::default() }),
        };
        let node_is =
            |at: u64, is_unreachable| NodeChange { at: moment(at), revision: at, node: "a".into(), is_unreachable };
        let pods = [Some(pod(10, false)), deleted.map(|at| pod(at, true))];
        let history = History {
            pods: pods.into_iter().flatten().collect(),
            nodes: vec![node_is(30, true), node_is(50, false)],
            heard: [("a".to_owned(), [28, 49, 52].map(moment).to_vec())].into(),
            evicted: evicted.iter().map(|uid| (*uid).to_owned()).collect(),
            runs: vec![Run { node: node.into(), uid: "u".into(), from: moment(from), until: until.map(moment) }],
            ..History::default()
        };
        check(&history).is_empty()
    }

    #[test]
    fn a_pod_that_is_gone_does_not_run() {
        let moment = Duration::from_secs;
        let change = |at: u64, pod| PodChange { at: moment(at), revision: at, uid: "u".into(), pod };
        let bound = Pod { node: Some("a".into()), ..Pod::default() };
        let is_sound = |until: Option<u64>| {
            let run = Run { node: "a".into(), uid: "u".into(), from: moment(11), until: until.map(moment) };
            let pods = vec![change(10, Some(bound.clone())), change(20, None)];
            check(&History { pods, runs: vec![run], ..History::default() }).is_empty()
        };
        assert!(is_sound(Some(20)) && !is_sound(Some(21)) && !is_sound(None));
    }

    #[test]
    fn a_pod_runs_where_it_is_bound_and_only_as_long_as_it_is_its_nodes() {
        assert!(is_sound(None, "a", 11, None));
        assert!(!is_sound(None, "b", 11, None), "elsewhere");
        assert!(!is_sound(None, "a", 9, Some(20)), "before it was bound");
        assert!(is_sound(Some(40), "a", 11, Some(39)));
        assert!(!is_sound(Some(40), "a", 11, Some(41)));
        assert!(!is_sound(Some(40), "a", 45, Some(46)));
        assert!(!is_sound(Some(40), "a", 11, None));
        assert!(is_sound(Some(20), "a", 11, Some(25)), "an ordinary deletion takes its time");
        assert!(is_sound(Some(60), "a", 11, Some(65)));
        assert!(is_sound(Some(49), "a", 48, Some(51)), "a deletion that the node, which is heard again, is told of");
        assert!(!is_sound(Some(48), "a", 11, Some(51)));
        assert!(is_sound_of(&[], Some(40), "a", 11, Some(41)), "a deletion for another reason");
    }
}
