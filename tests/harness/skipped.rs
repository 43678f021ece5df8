//! What cannot run on a machine is left out, and says so.

use std::fmt::Display;

/// Says loudly that a test is left out, and why.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub(crate) fn skipped(test: &str, why: impl Display) {
    eprintln!("SKIPPED: {test}: {why}");
}
