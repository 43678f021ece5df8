//! Every key is linearizable, and more: all keys are, together.
//!
//! The store gives each change a revision, which orders all of them; so nothing has to be searched for. A call took effect at
//! some revision between the newest that anybody is known to have seen before it began, and the newest that there was
//! when it ended. What is not known to have been answered may have taken effect or not, but not twice.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::history::{Answer, Ask, Call, History, KeyChange, Revision};

/// Checks the calls against the changes.
pub fn check(history: &History) -> Vec<String> {
    let mut faults = order(&history.keys);
    let log = Log::of(&history.keys);
    faults.extend(log.unknown_values(&history.calls));
    let floors = Floors::of(&history.calls, &log);
    for call in &history.calls {
        let window = floors.before(call.began)..=log.newest_at(call.ended);
        if let Some(fault) = log.fault(call, &window) {
            faults.push(format!("{fault}: {call:?}, which took effect in {window:?}"));
        }
    }
    faults
}

/// No revision is used twice, and none comes after a higher one.
fn order(changes: &[KeyChange]) -> Vec<String> {
    let wrong = changes.windows(2).filter_map(|pair| match pair {
        [before, after] if before.revision >= after.revision => {
            Some(format!("revisions do not grow: {before:?}, then {after:?}"))
        }
        _ => None,
    });
    wrong.collect()
}

/// What stood when.
struct Log<'a> {
    changes: &'a [KeyChange],
    keys: BTreeMap<&'a str, Vec<&'a KeyChange>>,
}

/// A key's revision and value, if there is one.
type State<'a> = Option<(Revision, &'a str)>;

/// A key between two changes: from one revision up to before another.
struct Span<'a> {
    state: State<'a>,
    from: Revision,
    until: Revision,
}

impl Span<'_> {
    fn meets(&self, window: &RangeInclusive<Revision>) -> bool {
        self.from <= *window.end() && self.until > *window.start()
    }
}

impl<'a> Log<'a> {
    fn of(changes: &'a [KeyChange]) -> Self {
        let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for change in changes {
            keys.entry(change.key.as_str()).or_default().push(change);
        }
        Self { changes, keys }
    }

    /// The newest revision that anybody had seen at a moment.
    fn newest_at(&self, moment: Duration) -> Revision {
        let seen = self.changes.iter().take_while(|change| change.at <= moment);
        seen.last().map_or(0, |change| change.revision)
    }

    fn changes_of(&self, key: &str) -> &[&'a KeyChange] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// All that a key ever was.
    fn spans(&self, key: &str) -> impl Iterator<Item = Span<'a>> {
        let changes = self.changes_of(key);
        let first = Span { state: None, from: 0, until: changes.first().map_or(Revision::MAX, |next| next.revision) };
        let ends = changes.iter().skip(1).map(|next| next.revision).chain([Revision::MAX]);
        let later = changes.iter().zip(ends).map(|(change, until)| Span {
            state: change.value.as_deref().map(|value| (change.revision, value)),
            from: change.revision,
            until,
        });
        [first].into_iter().chain(later).collect::<Vec<_>>().into_iter()
    }

    /// The key as it stood at a revision.
    fn at(&self, key: &str, revision: Revision) -> State<'a> {
        self.spans(key).find(|span| span.from <= revision && revision < span.until)?.state
    }

    fn next_after(&self, key: &str, revision: Revision) -> Option<&'a KeyChange> {
        self.changes_of(key).iter().find(|change| change.revision > revision).copied()
    }

    /// Values that nobody asked for, that were refused, or that came twice.
    fn unknown_values(&self, calls: &[Call]) -> Vec<String> {
        let asked: BTreeMap<&str, &Answer> = calls
            .iter()
            .filter_map(|call| match &call.ask {
                Ask::Put { value, .. } => Some((value.as_str(), &call.answer)),
                _ => None,
            })
            .collect();
        let mut seen = BTreeSet::new();
        let wrong = self.changes.iter().filter_map(|change| {
            let value = change.value.as_deref()?;
            let is_wanted = asked.get(value).is_some_and(|answer| **answer != Answer::Refused);
            (!is_wanted || !seen.insert(value)).then(|| format!("nobody asked for this, or not twice: {change:?}"))
        });
        wrong.collect()
    }

    fn fault(&self, call: &Call, window: &RangeInclusive<Revision>) -> Option<&'static str> {
        let is_in = |revision: Revision| revision > *window.start() && revision <= *window.end();
        let could = |key: &str, holds: &dyn Fn(State<'_>) -> bool| {
            self.spans(key).any(|span| span.meets(window) && holds(span.state))
        };
        let is_sound = match (&call.ask, &call.answer) {
            (_, Answer::Unknown) => true,
            (Ask::Put { key, value, expect }, Answer::Wrote(revision)) => {
                let before = self.at(key, revision.saturating_sub(1)).map(|(revision, _)| revision);
                is_in(*revision) && self.at(key, *revision) == Some((*revision, value)) && before == *expect
            }
            (Ask::Put { key, expect, .. }, Answer::Refused) => {
                could(key, &|state| state.map(|(revision, _)| revision) != *expect)
            }
            (Ask::Delete { key, expect }, Answer::Deleted) => {
                self.next_after(key, *expect).is_some_and(|next| next.value.is_none() && is_in(next.revision))
            }
            (Ask::Delete { key, expect }, Answer::Refused) => {
                could(key, &|state| state.map(|(revision, _)| revision) != Some(*expect))
            }
            (Ask::Get { key }, Answer::Saw(seen)) => {
                let seen = seen.as_ref().map(|(revision, value)| (*revision, value.as_str()));
                could(key, &|state| state == seen)
            }
            (Ask::List, Answer::Listed(revision, listed)) => {
                return self.list_fault(*revision, listed, window);
            }
            _ => false,
        };
        (!is_sound).then_some("not linearizable")
    }

    /// A list shows one moment. Others than keys have revisions too: its own may be higher than the last key's.
    fn list_fault(
        &self,
        revision: Revision,
        listed: &BTreeMap<String, (Revision, String)>,
        window: &RangeInclusive<Revision>,
    ) -> Option<&'static str> {
        let stood = self.keys.keys().filter_map(|key| Some((*key, self.at(key, revision)?)));
        let stood: BTreeMap<_, _> = stood.collect();
        let listed: BTreeMap<_, _> =
            listed.iter().map(|(key, (revision, value))| (key.as_str(), (*revision, value.as_str()))).collect();
        if stood != listed {
            return Some("a list of what never stood so");
        }
        let is_fresh = revision >= *window.start();
        (!is_fresh).then_some("an old list")
    }
}

/// The newest revision that is known to have been seen before a moment.
struct Floors {
    /// By the end of calls; both grow.
    seen: Vec<(Duration, Revision)>,
}

impl Floors {
    fn of(calls: &[Call], log: &Log<'_>) -> Self {
        let mut seen: Vec<_> = calls.iter().filter_map(|call| Some((call.ended, shown(call, log)?))).collect();
        seen.sort_unstable();
        let mut newest = 0;
        for (_, revision) in &mut seen {
            newest = newest.max(*revision);
            *revision = newest;
        }
        Self { seen }
    }

    fn before(&self, moment: Duration) -> Revision {
        let count = self.seen.partition_point(|(ended, _)| *ended < moment);
        count.checked_sub(1).and_then(|last| self.seen.get(last)).map_or(0, |(_, revision)| *revision)
    }
}

/// The newest revision that a call's answer shows.
fn shown(call: &Call, log: &Log<'_>) -> Option<Revision> {
    match (&call.ask, &call.answer) {
        (_, Answer::Wrote(revision) | Answer::Listed(revision, _) | Answer::Saw(Some((revision, _)))) => {
            Some(*revision)
        }
        (Ask::Delete { key, expect }, Answer::Deleted) => log.next_after(key, *expect).map(|next| next.revision),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn change(at: u64, revision: Revision, key: &str, value: &str) -> KeyChange {
        let value = (!value.is_empty()).then(|| value.to_owned());
        KeyChange { at: ms(at), revision, key: key.into(), value }
    }

    fn put(value: &str, expect: Option<Revision>) -> Ask {
        Ask::Put { key: "k".into(), value: value.into(), expect }
    }

    fn get(saw: Option<(Revision, &str)>) -> (Ask, Answer) {
        (Ask::Get { key: "k".into() }, Answer::Saw(saw.map(|(revision, value)| (revision, value.to_owned()))))
    }

    fn delete(expect: Revision, answer: Answer) -> (Ask, Answer) {
        (Ask::Delete { key: "k".into(), expect }, answer)
    }

    fn list(revision: Revision, listed: &[(&str, Revision, &str)]) -> (Ask, Answer) {
        let listed = listed.iter().map(|(key, revision, value)| ((*key).into(), (*revision, (*value).into())));
        (Ask::List, Answer::Listed(revision, listed.collect()))
    }

    /// `a` at 3 from 20 ms on, `b` at 5 from 40 ms on, gone at 8 from 60 ms on; and another key.
    fn history(calls: &[(u64, u64, (Ask, Answer))]) -> History {
        let keys =
            vec![change(20, 3, "k", "a"), change(30, 4, "l", "x"), change(40, 5, "k", "b"), change(60, 8, "k", "")];
        let writes = [
            (10, 25, (put("a", None), Answer::Wrote(3))),
            (35, 45, (put("b", Some(3)), Answer::Wrote(5))),
            (25, 90, (Ask::Put { key: "l".into(), value: "x".into(), expect: None }, Answer::Unknown)),
        ];
        let all = writes.iter().chain(calls).cloned();
        let calls = all.map(|(began, ended, (ask, answer))| Call {
            client: 0,
            began: ms(began),
            ended: ms(ended),
            ask,
            answer,
        });
        History { keys, calls: calls.collect(), ..History::default() }
    }

    fn is_sound(calls: &[(u64, u64, (Ask, Answer))]) -> bool {
        check(&history(calls)).is_empty()
    }

    #[test]
    fn reads_show_what_stood_while_they_were_under_way() {
        let check = |began, ended, read: (Ask, Answer), expected| {
            assert_eq!(is_sound(&[(began, ended, read.clone())]), expected, "{began} {ended} {read:?}");
        };
        check(15, 22, get(None), true);
        check(15, 22, get(Some((3, "a"))), true);
        check(15, 18, get(Some((3, "a"))), false);
        check(26, 32, get(None), false);
        check(26, 42, get(Some((5, "b"))), true);
        check(26, 42, get(Some((5, "a"))), false);
        // `b` was acknowledged at 45.
        check(45, 70, get(Some((3, "a"))), true);
        check(46, 70, get(Some((3, "a"))), false);
        check(46, 70, get(None), true);
        check(26, 70, list(4, &[("k", 3, "a"), ("l", 4, "x")]), true);
        check(26, 70, list(4, &[("k", 3, "a")]), false);
        check(46, 70, list(4, &[("k", 3, "a"), ("l", 4, "x")]), false);
        check(46, 70, list(9, &[("l", 4, "x")]), true);
    }

    #[test]
    fn what_one_saw_nobody_unsees() {
        let early = (38, 41, get(Some((5, "b"))));
        assert!(is_sound(&[early.clone(), (40, 43, get(Some((3, "a"))))]));
        assert!(!is_sound(&[early, (42, 43, get(Some((3, "a"))))]));
    }

    #[test]
    fn writes_take_effect_once_where_they_were_expected_to() {
        let check = |calls: &[(u64, u64, (Ask, Answer))], expected| assert_eq!(is_sound(calls), expected, "{calls:?}");
        check(&[(50, 65, delete(5, Answer::Deleted))], true);
        check(&[(50, 65, delete(3, Answer::Deleted))], false);
        check(&[(50, 55, delete(5, Answer::Deleted))], false);
        check(&[(50, 55, delete(5, Answer::Refused))], false);
        check(&[(50, 65, delete(5, Answer::Refused))], true);
        check(&[(50, 65, (put("c", Some(5)), Answer::Unknown))], true);
        // Acknowledged and lost.
        check(&[(50, 65, (put("c", Some(5)), Answer::Wrote(7)))], false);
        check(&[(46, 50, (put("c", None), Answer::Refused))], true);
        check(&[(61, 70, (put("c", None), Answer::Refused))], true);
        check(&[(61, 70, (put("c", None), Answer::Refused)), (50, 60, delete(5, Answer::Deleted))], false);
    }

    #[test]
    fn changes_have_an_author_and_a_revision_of_their_own() {
        let with = |more: KeyChange| {
            let mut history = history(&[]);
            history.keys.push(more);
            check(&history).len()
        };
        assert_eq!(with(change(70, 9, "l", "")), 0);
        assert_eq!(with(change(70, 8, "l", "")), 1);
        assert_eq!(with(change(70, 9, "k", "nobody's")), 1);
        assert_eq!(with(change(70, 9, "k", "b")), 1);
    }
}
