//! Which backend a host and path lead to: immutable, compiled from all ingresses.
//!
//! The most specific host whose rules match the path wins (exact, then one-label wildcard, then rules without a host);
//! of its paths an exact one, then the longest prefix by path elements. Requests that no path matches go to the
//! default backend of the ingress that names the host, then to that of an ingress without rules.

use std::collections::HashMap;

use wherry_api::ObjectKey;

use crate::table::PortRef;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) service: ObjectKey,
    pub(crate) port: PortRef,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathType {
    Exact,
    Prefix,
}

#[derive(Debug, Default)]
pub(crate) struct Matcher {
    hosts: HashMap<String, Paths>,
    /// By what follows `*.`.
    wildcards: HashMap<String, Paths>,
    any_host: Paths,
    fallback: Option<Backend>,
}

#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<String, Backend>,
    /// By path without its trailing slash; `/` is empty.
    prefixes: HashMap<String, Backend>,
    fallback: Option<Backend>,
}

impl Matcher {
    /// Adds a rule. One that is there already stays: add older ingresses first.
    pub(crate) fn add(&mut self, host: &str, path: &str, path_type: PathType, backend: Backend) {
        let paths = self.host_mut(host);
        match path_type {
            PathType::Exact => paths.exact.entry(path.to_owned()).or_insert(backend),
            PathType::Prefix => paths.prefixes.entry(path.trim_end_matches('/').to_owned()).or_insert(backend),
        };
    }

    /// Adds what serves a host's requests that no path matches.
    pub(crate) fn add_host_fallback(&mut self, host: &str, backend: Backend) {
        self.host_mut(host).fallback.get_or_insert(backend);
    }

    /// Adds what serves requests that nothing else matches.
    pub(crate) fn add_fallback(&mut self, backend: Backend) {
        self.fallback.get_or_insert(backend);
    }

    /// The backend of a request. `host` is without a port, in any case of letters.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Backend> {
        let lower;
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            &lower
        } else {
            host
        };
        let candidates = [self.hosts.get(host), self.wildcard(host), Some(&self.any_host)];
        let mut by_path = candidates.iter().flatten().filter_map(|paths| paths.find(path));
        let mut fallbacks = candidates.iter().flatten().filter_map(|paths| paths.fallback.as_ref());
        by_path.next().or_else(|| fallbacks.next()).or(self.fallback.as_ref())
    }

    fn wildcard(&self, host: &str) -> Option<&Paths> {
        let (first_label, rest) = host.split_once('.')?;
        if first_label.is_empty() { None } else { self.wildcards.get(rest) }
    }

    fn host_mut(&mut self, host: &str) -> &mut Paths {
        match host.strip_prefix("*.") {
            Some(rest) => self.wildcards.entry(rest.to_ascii_lowercase()).or_default(),
            None if host.is_empty() => &mut self.any_host,
            None => self.hosts.entry(host.to_ascii_lowercase()).or_default(),
        }
    }
}

impl Paths {
    fn find(&self, path: &str) -> Option<&Backend> {
        self.exact.get(path).or_else(|| self.longest_prefix(path))
    }

    /// Looks up the path, then what is left without its last element, and so on.
    fn longest_prefix(&self, path: &str) -> Option<&Backend> {
        if self.prefixes.is_empty() {
            return None;
        }
        let mut rest = path.trim_end_matches('/');
        loop {
            if let Some(backend) = self.prefixes.get(rest) {
                return Some(backend);
            }
            (rest, _) = rest.rsplit_once('/')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(name: &str) -> Backend {
        Backend { service: ObjectKey::new("default", name), port: PortRef::Number(80) }
    }

    /// Rules are `host path type service`; `-` is no host, and type `default` a host's fallback.
    fn matcher(rules: &str) -> Matcher {
        let mut matcher = Matcher::default();
        for rule in rules.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<&str> = rule.split_whitespace().collect();
            let host = if words[0] == "-" { "" } else { words[0] };
            match words[2] {
                "exact" => matcher.add(host, words[1], PathType::Exact, backend(words[3])),
                "prefix" => matcher.add(host, words[1], PathType::Prefix, backend(words[3])),
                _ => matcher.add_host_fallback(host, backend(words[3])),
            }
        }
        matcher
    }

    fn check(matcher: &Matcher, cases: &[(&str, &str, &str)]) {
        for (host, path, expected) in cases {
            let found = matcher.find(host, path).map_or("-", |backend| &*backend.service.name);
            assert_eq!(found, *expected, "{host} {path}");
        }
    }

    #[test]
    fn hosts_by_how_specific_they_are() {
        let matcher = matcher(
            "a.example / prefix exact-host
             *.example / prefix wildcard
             only.example /x prefix only
             - / prefix any",
        );
        check(
            &matcher,
            &[
                ("a.example", "/", "exact-host"),
                ("A.Example", "/", "exact-host"),
                ("b.example", "/", "wildcard"),
                ("b.c.example", "/", "any"),
                ("example", "/", "any"),
                ("", "/", "any"),
                ("only.example", "/x/y", "only"),
                ("only.example", "/z", "wildcard"),
            ],
        );
    }

    #[test]
    fn paths_by_exactness_and_length_in_elements() {
        let matcher = matcher(
            "h /foo exact exact
             h /foo prefix prefix
             h /foo/bar/ prefix longer
             h /foo prefix younger
             h /only exact only",
        );
        check(
            &matcher,
            &[
                ("h", "/foo", "exact"),
                ("h", "/foo/", "prefix"),
                ("h", "/foo/x", "prefix"),
                ("h", "/foobar", "-"),
                ("h", "/foo/bar", "longer"),
                ("h", "/foo/bar/baz", "longer"),
                ("h", "/foo/barbaz", "prefix"),
                ("h", "/only", "only"),
                ("h", "/only/", "-"),
                ("h", "/", "-"),
            ],
        );
    }

    #[test]
    fn fallbacks_come_after_all_paths() {
        let mut matcher = matcher(
            "h /x prefix x
             h - default host-default
             - /y prefix y",
        );
        check(&matcher, &[("h", "/z", "host-default"), ("h", "/y", "y"), ("i", "/z", "-")]);
        matcher.add_fallback(backend("last"));
        matcher.add_fallback(backend("younger"));
        check(&matcher, &[("h", "/z", "host-default"), ("i", "/z", "last")]);
    }
}
