//! Which certificates are worth nothing any more: what the ConfigMap `kube-system/revoked-certificates` says.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;

/// The certificates of some users, and those of some serial numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations(BTreeSet<String>);

impl Revocations {
    /// What the ConfigMap's values name, separated by white space: users, such as `system:node:n2`, and serial numbers in
    /// hexadecimal digits.
    pub fn of(map: &ConfigMap) -> Self {
        let values = map.data.iter().flat_map(|data| data.values());
        Self(values.flat_map(|value| value.split_whitespace()).map(str::to_owned).collect())
    }

    /// Whether a certificate of this serial number is revoked, by it or by its user.
    pub fn cover(&self, user: &str, serial: &str) -> bool {
        self.0.contains(user) || self.0.contains(serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_serial_numbers_are_named() {
        let map = r#"{"data": {"lost": "system:node:n2\n0a1b", "other": "eve"}}"#;
        let revocations = Revocations::of(&serde_json::from_str(map).unwrap());
        for (user, serial, expected) in [
            ("system:node:n2", "1", true),
            ("system:node:n3", "0a1b", true),
            ("eve", "", true),
            ("system:node:n3", "1", false),
            ("", "", false),
        ] {
            assert_eq!(revocations.cover(user, serial), expected, "{user} {serial}");
        }
    }
}
