//! The checkers: pure functions of a history, each of which names what it does not allow.

mod converged;
mod endpoints;
mod keys;
mod places;
mod streams;

use crate::history::History;

/// Everything in a history that must not be, in words.
pub fn check(history: &History) -> Vec<String> {
    let all = [
        keys::check(history),
        streams::check(history),
        places::check(history),
        endpoints::check(history),
        converged::check(history),
    ];
    all.into_iter().flatten().collect()
}
