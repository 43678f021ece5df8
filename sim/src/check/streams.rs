//! Watches neither miss a change, nor reorder any, nor go back, nor fall silent.

use std::time::Duration;

use crate::history::{History, KeyChange, Revision, Seen, Stream};

/// How long a change may take to be shown by a watch while nothing is broken.
const DELAY_MOST: Duration = Duration::from_secs(5);

/// Checks the watches against the changes.
pub fn check(history: &History) -> Vec<String> {
    history.streams.iter().filter_map(|stream| fault(history, stream)).collect()
}

fn fault(history: &History, stream: &Stream) -> Option<String> {
    let mut expected = history.keys.iter().filter(|change| change.revision > stream.from).peekable();
    for seen in &stream.seen {
        match seen {
            Seen::Change { .. } => {
                let next = expected.next();
                if next.is_none_or(|next| shown(next) != *seen) {
                    return Some(format!("{} shows {seen:?}, where there was {next:?}", name(stream)));
                }
            }
            Seen::Bookmark(revision) => {
                if let Some(missed) = expected.next_if(|next| next.revision <= *revision) {
                    return Some(format!("{} says that it is at {revision}, and missed {missed:?}", name(stream)));
                }
            }
        }
    }
    let open_since = stream.open_since?;
    let overdue = expected.next().filter(|next| next.at.max(open_since) + DELAY_MOST < history.end.at)?;
    Some(format!("{} does not show {overdue:?}", name(stream)))
}

fn shown(change: &KeyChange) -> Seen {
    Seen::Change { revision: change.revision, key: change.key.clone(), value: change.value.clone() }
}

fn name(stream: &Stream) -> String {
    let Stream { client, from, .. } = stream;
    let from: &Revision = from;
    format!("the watch of client {client} from {from} on")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::End;

    fn change(revision: Revision) -> KeyChange {
        KeyChange { at: Duration::from_secs(revision), revision, key: "k".into(), value: Some(revision.to_string()) }
    }

    #[test]
    fn a_watch_shows_every_change_once_in_order() {
        let keys = [1, 2, 5, 7].map(change);
        let check = |from, seen: &[i64], open_since: Option<u64>, end, expected| {
            let seen = seen.iter().map(|number| match u64::try_from(*number) {
                Ok(revision) => shown(&change(revision)),
                Err(_) => Seen::Bookmark(number.unsigned_abs()),
            });
            let open_since = open_since.map(Duration::from_secs);
            let stream = Stream { client: 0, from, seen: seen.collect(), open_since };
            let end = End { at: Duration::from_secs(end), ..End::default() };
            let history = History { keys: keys.to_vec(), streams: vec![stream.clone()], end, ..History::default() };
            assert_eq!(super::check(&history).is_empty(), expected, "{stream:?}");
        };
        check(0, &[1, 2, 5, 7], None, 10, true);
        check(0, &[1, 2], None, 10, true);
        check(2, &[5, -6, 7, -7], None, 10, true);
        check(0, &[1, 5], None, 10, false);
        check(0, &[2, 1], None, 10, false);
        check(0, &[1, 1], None, 10, false);
        check(0, &[1, 2, 1], None, 10, false);
        check(2, &[2, 5], None, 10, false);
        check(1, &[3], None, 10, false);
        check(0, &[1, -2], None, 10, false);
        check(0, &[1, 2, 5], Some(0), 11, true);
        check(0, &[1, 2, 5], Some(0), 13, false);
        check(0, &[1, 2, 5], Some(9), 13, true);
        check(0, &[1, 2, 5, 7], Some(0), 100, true);
    }
}
