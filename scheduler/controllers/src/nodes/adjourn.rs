//! Whether this process is in a state to judge a node that seems silent. One that looks long after the grace was over was
//! stopped for a while, or has too much to do: renewals may wait for it in the same queue. It gives the node a little more
//! time, and judges when it looks in time.
//!
//! Else a machine that was asleep for a moment would take all nodes for dead, and all pods out of their Services.

use std::time::Duration;

use jiff::Timestamp;
use wherry_api::ObjectKey;

use super::passed;
use crate::plan::Plan;
use crate::world::View;

/// Which part of the grace a look may be late, and is put off then.
const PART: u32 = 4;
/// How often in a row judgement is put off: who has too much to do all the time judges late, not never.
const ADJOURNED_MOST: u32 = 3;
/// What is noted of it; no node has such a name.
const NOTES: &str = "adjourned/";

/// Whether judgement is put off, of a node whose grace was over `late` ago; asks to look again then.
pub(super) fn is_adjourned(
    view: &View,
    key: &ObjectKey,
    heard: Option<Timestamp>,
    (grace, late): (Duration, Duration),
    plan: &mut Plan,
) -> bool {
    let (about, part) = (notes(key), grace / PART);
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
    if late <= part || times >= ADJOURNED_MOST {
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
