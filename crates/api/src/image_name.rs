//! Which registry an image's name names. Pure.

/// The registry (`host[:port]`) that a name begins with, and the rest; no registry where the first part is none.
pub fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, name),
    }
}
