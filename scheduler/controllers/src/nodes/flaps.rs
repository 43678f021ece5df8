//! Nodes that fall silent again and again: each time they must be well for longer before they count again.

use std::time::Duration;

use jiff::Timestamp;
use wherry_api::ObjectKey;

use super::passed;
use crate::plan::Plan;
use crate::world::View;

/// Silences that are further apart have nothing to do with one another.
const MEMORY: Duration = Duration::from_secs(600);
/// A node that falls silent once or twice, as by a restart, counts again at once.
const SILENCES_SPARED: u32 = 2;
/// How long a node must be well after the first silence that is one too many; twice as long after each further one.
const HOLD_FIRST: Duration = Duration::from_secs(10);
const HOLD_MOST: Duration = Duration::from_secs(300);
/// What is noted of silences, and of the return after them; no node has such a name.
const SILENCES: &str = "silences/";
const RETURNS: &str = "returns/";

/// The node fell silent. Each silence counts once, though it may take several attempts to write that it began.
pub(super) fn count(view: &View, key: &ObjectKey, heard: Option<Timestamp>, plan: &mut Plan) {
    let about = ObjectKey::new(SILENCES, &key.name);
    let is_counted = view.notes.get(&about).is_some_and(|note| heard.is_some_and(|heard| note.since > heard));
    if is_counted {
        return;
    }
    plan.note(&about, &(silences(view, key, view.now) + 1).to_string(), view.now);
    plan.forget(&ObjectKey::new(RETURNS, &key.name));
}

/// How long a node that is back must still be well before it counts; asks to look again then.
pub(super) fn is_held(view: &View, key: &ObjectKey, plan: &mut Plan) -> bool {
    let about = ObjectKey::new(RETURNS, &key.name);
    let returned = view.notes.get(&about).map(|note| note.since);
    let since = returned.unwrap_or(view.now);
    let hold = hold(silences(view, key, since));
    if hold.is_zero() {
        return false;
    }
    if returned.is_none() {
        plan.note(&about, "returned", view.now);
    }
    let left = hold.saturating_sub(passed(since, view.now));
    if !left.is_zero() {
        plan.look_again(left);
    }
    !left.is_zero()
}

/// What is noted of a node.
pub(super) fn notes(key: &ObjectKey) -> [ObjectKey; 2] {
    [SILENCES, RETURNS].map(|notes| ObjectKey::new(notes, &key.name))
}

/// How often the node has fallen silent up to `at`.
fn silences(view: &View, key: &ObjectKey, at: Timestamp) -> u32 {
    let noted = view.notes.get(&ObjectKey::new(SILENCES, &key.name));
    noted.filter(|note| passed(note.since, at) < MEMORY).and_then(|note| note.what.parse().ok()).unwrap_or(0)
}

fn hold(silences: u32) -> Duration {
    match silences.checked_sub(SILENCES_SPARED + 1) {
        None => Duration::ZERO,
        Some(more) => HOLD_FIRST.saturating_mul(2_u32.saturating_pow(more)).min(HOLD_MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hold_grows_with_the_silences() {
        let seconds = [0, 1, 2, 3, 4, 5, 9, u32::MAX].map(|silences| hold(silences).as_secs());
        assert_eq!(seconds, [0, 0, 0, 10, 20, 40, 300, 300]);
    }
}
