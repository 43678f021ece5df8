//! The grammars of names, labels, keys and ports, with Kubernetes' sentences for what does not fit them.
//!
//! Each function returns what is wrong, nothing if all is well. Follows `k8s.io/apimachinery/pkg/util/validation`.

const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_WORDS: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const LABEL_1123: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_1123: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

/// What is wrong with a value, in sentences.
pub(crate) type Faults = Vec<String>;

fn misfit(words: &str, grammar: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{words} (e.g. {}regex used for validation is '{grammar}')", examples.join(" or "))
}

/// The sentence for a value of more than `max` bytes.
pub(crate) fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn bounded(value: &str, max: usize) -> Faults {
    if value.len() > max { vec![too_long(max)] } else { Vec::new() }
}

/// Whether `value` has only `allowed` bytes and begins and ends with one that `ends` allows.
fn fits(value: &str, allowed: impl Fn(u8) -> bool, ends: impl Fn(u8) -> bool) -> bool {
    let bytes = value.as_bytes();
    bytes.iter().all(|b| allowed(*b))
        && bytes.first().is_some_and(|b| ends(*b))
        && bytes.last().is_some_and(|b| ends(*b))
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn fits_label(value: &str) -> bool {
    fits(value, |b| lower(b) || b == b'-', lower)
}

fn fits_qualified(value: &str) -> bool {
    fits(value, |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b), |b| b.is_ascii_alphanumeric())
}

/// A DNS label: names of containers, namespaces, volumes.
pub(crate) fn dns1123_label(value: &str) -> Faults {
    let mut faults = bounded(value, 63);
    if !fits_label(value) {
        let words = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
                     and must start and end with an alphanumeric character";
        faults.push(misfit(words, LABEL_1123, &["my-name", "123-abc"]));
    }
    faults
}

/// A DNS subdomain: names of most objects.
pub(crate) fn dns1123_subdomain(value: &str) -> Faults {
    let mut faults = bounded(value, 253);
    if !value.split('.').all(fits_label) {
        let words = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                     and must start and end with an alphanumeric character";
        faults.push(misfit(words, SUBDOMAIN_1123, &["example.com"]));
    }
    faults
}

/// `*.example.com`.
pub(crate) fn wildcard_subdomain(value: &str) -> Faults {
    let mut faults = bounded(value, 253);
    if !value.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(fits_label)) {
        let words = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                     consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        faults.push(misfit(words, &format!(r"\*\.{SUBDOMAIN_1123}"), &["*.example.com"]));
    }
    faults
}

/// A DNS label that begins with a letter.
pub(crate) fn dns1035_label(value: &str) -> Faults {
    let mut faults = bounded(value, 63);
    if !fits_label(value) || !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        let words = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                     alphabetic character, and end with an alphanumeric character";
        faults.push(misfit(words, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    faults
}

/// A key of a label, annotation, taint: `name` or `example.com/name`.
pub(crate) fn qualified_name(value: &str) -> Faults {
    let examples = ["MyName", "my.name", "123-abc"];
    let (prefix, name) = match value.split_once('/') {
        None => (None, value),
        Some((prefix, name)) if !name.contains('/') => (Some(prefix), name),
        Some(_) => {
            let grammar = misfit(QUALIFIED_WORDS, QUALIFIED, &examples);
            let optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {grammar} {optional}")];
        }
    };
    let mut faults = prefix.map(prefix_faults).unwrap_or_default();
    if name.is_empty() {
        faults.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        faults.push(format!("name part {}", too_long(63)));
    }
    if !fits_qualified(name) {
        faults.push(format!("name part {}", misfit(QUALIFIED_WORDS, QUALIFIED, &examples)));
    }
    faults
}

fn prefix_faults(prefix: &str) -> Faults {
    if prefix.is_empty() {
        return vec!["prefix part must be non-empty".into()];
    }
    dns1123_subdomain(prefix).into_iter().map(|fault| format!("prefix part {fault}")).collect()
}

/// A label's value.
pub(crate) fn label_value(value: &str) -> Faults {
    let mut faults = bounded(value, 63);
    if !value.is_empty() && !fits_qualified(value) {
        let words = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                     and must start and end with an alphanumeric character";
        faults.push(misfit(words, &format!("({QUALIFIED})?"), &["MyValue", "my_value", "12345"]));
    }
    faults
}

/// A key in a ConfigMap or Secret, which may become a file's name.
pub(crate) fn config_key(value: &str) -> Faults {
    let mut faults = bounded(value, 253);
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        let words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        faults.push(misfit(words, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match value {
        "." => faults.push("must not be '.'".into()),
        ".." => faults.push("must not be '..'".into()),
        _ if value.starts_with("..") => faults.push("must not start with '..'".into()),
        _ => {}
    }
    faults
}

/// The name of an environment variable.
pub(crate) fn env_name(value: &str) -> Faults {
    if value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
}

/// The name of a container's port (an IANA service name).
pub(crate) fn port_name(value: &str) -> Faults {
    let mut faults = bounded(value, 15);
    if !value.bytes().all(|b| lower(b) || b == b'-') {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        faults.push("must contain at least one letter (a-z)".into());
    }
    if value.contains("--") {
        faults.push("must not contain consecutive hyphens".into());
    }
    if value.starts_with('-') || value.ends_with('-') {
        faults.push("must not begin or end with a hyphen".into());
    }
    faults
}

/// A port's number.
pub(crate) fn port_number(value: i32) -> Faults {
    if (1..=65535).contains(&value) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".into()] }
}

/// An IPv4 or IPv6 address.
pub(crate) fn ip(value: &str) -> Faults {
    match value.parse::<std::net::IpAddr>() {
        Ok(_) => Vec::new(),
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

/// An address that traffic may be sent to on behalf of others: one that means the machine itself, or its link only,
/// would open what is meant for the machine alone.
pub(crate) fn endpoint_ip(value: &str) -> Faults {
    let Ok(ip) = value.parse::<std::net::IpAddr>().map(|ip| ip.to_canonical()) else { return ip(value) };
    let link_local = match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let cases = [
        (ip.is_unspecified(), "may not be unspecified"),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (ip.is_multicast(), "may not be in the multicast range (224.0.0.0/4, ff00::/8)"),
    ];
    cases.iter().filter(|(special, _)| *special).map(|(_, words)| (*words).to_owned()).collect()
}

/// `25%`, as its number.
pub(crate) fn percent(value: &str) -> Result<i32, String> {
    let number = value.strip_suffix('%').filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    number.and_then(|n| n.parse().ok()).ok_or_else(|| {
        let words = "a valid percent string must be a numeric string followed by an ending '%'";
        misfit(words, "[0-9]+%", &["1%", "93%"])
    })
}
