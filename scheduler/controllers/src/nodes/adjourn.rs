//! Whether this process is in a state to judge a node that seems silent. One that looks long after the grace was over was
//! stopped for a while, or has too much to do: renewals may wait for it in the same queue. And one to which most nodes are late at
//! once is more likely slow, or badly connected, than they are dead. It gives the node a little more time, and judges when it looks in time
//! and most are heard.
//!
//! Else a machine that was asleep for a moment would take all nodes for dead, and all pods out of their Services; and a master that is at
//! its limit would make itself the work of telling all nodes of all nodes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use wherry_api::ObjectKey;

use super::{LEASES, NodeLifecycle, NodeMonitor, last_heard, passed};
use crate::plan::Plan;
use crate::world::View;

/// Which part of the grace a look may be late, and is put off then.
const PART: u32 = 4;
/// How often in a row judgement is put off: who has too much to do all the time judges late, not never.
const ADJOURNED_MOST: u32 = 3;
/// Which part of the grace is more than a renewal ever takes of it in a cluster that is well.
const OVERDUE_PART: u32 = 2;
/// How many graces after its last renewal a node tells nothing of the others any more.
const TELLING_GRACES: u32 = 2;
/// For which part of the grace an answer about all nodes is good: a thousand ask at once.
const GOOD_PART: u32 = 32;
/// What is noted of it; no node has such a name.
const NOTES: &str = "adjourned/";

/// Whether the renewals of most nodes were overdue, and when that was counted.
pub(super) struct Overdue(Mutex<Option<(Timestamp, bool)>>);

impl Overdue {
    pub(super) const fn unknown() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether so many are that a zone of them would be disrupted.
    pub(super) fn are_most(&self, monitor: &NodeMonitor, view: &View) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let good = monitor.lease.grace() / GOOD_PART;
        match *last {
            Some((at, are_most)) if passed(at, view.now) < good => are_most,
            _ => last.insert((view.now, count(monitor, view))).1,
        }
    }
}

fn count(monitor: &NodeMonitor, view: &View) -> bool {
    let grace = monitor.lease.grace();
    let leases = view.notes.range(ObjectKey::new(LEASES, "")..).take_while(|(about, _)| *about.namespace == *LEASES);
    let ages = leases.map(|(_, note)| passed(note.since, view.now));
    let telling = ages.filter(|age| *age <= grace * TELLING_GRACES);
    let (overdue, well): (Vec<_>, Vec<_>) = telling.partition(|age| *age > grace / OVERDUE_PART);
    monitor.is_disrupted(overdue.len(), overdue.len() + well.len())
}

/// Whether judgement is put off, of a node whose grace was over `late` ago; asks to look again then.
pub(super) fn is_adjourned(of: &NodeLifecycle, view: &View, key: &ObjectKey, late: Duration, plan: &mut Plan) -> bool {
    let (about, part) = (notes(key), of.monitor.lease.grace() / PART);
    let heard = last_heard(view, key);
    let noted = view.notes.get(&about).filter(|note| heard.is_some_and(|heard| note.since > heard));
    let (times, late) = match noted {
        Some(note) => {
            let waited = passed(note.since, view.now);
            if waited < part {
                plan.look_again(part - waited);
                return true;
            }
            (note.what.parse().unwrap_or(ADJOURNED_MOST), waited - part)
        }
        None => (0, late),
    };
    if times >= ADJOURNED_MOST || (late <= part && !of.overdue.are_most(&of.monitor, view)) {
        return false;
    }
    plan.note(&about, &(times + 1).to_string(), view.now);
    plan.look_again(part);
    true
}

/// What is noted of a node.
pub(super) fn notes(key: &ObjectKey) -> ObjectKey {
    ObjectKey::new(NOTES, &key.name)
}
