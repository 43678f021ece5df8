//! What a pod may ask of its machine, by the level of its namespace.
//!
//! Follows the Pod Security Standards and Pod Security Admission (KEP-2579), in the wording of `k8s.io/pod-security-admission`;
//! a namespace that says nothing is `baseline`, where Kubernetes is `privileged` (docs/adr/0016). Lacks the `audit` mode, the rules of
//! earlier versions (all are checked by the latest), and what concerns Windows.

mod baseline;
mod restricted;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EphemeralContainer, PodSpec, Probe, SecurityContext, Volume,
};

/// The label of a namespace that says which pods are refused.
pub const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// The label of a namespace that says which pods, and templates of pods, are warned of.
pub const WARN: &str = "pod-security.kubernetes.io/warn";
/// Labels with this prefix are these, or `audit`, or a version of one.
pub const PREFIX: &str = "pod-security.kubernetes.io/";

/// A level of the standards; each allows less than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Privileged,
    /// Nothing that gives a pod power over its machine.
    Baseline,
    /// What is good practice, no more.
    Restricted,
}

impl Level {
    /// The level where a namespace names none.
    pub const DEFAULT: Self = Self::Baseline;

    /// The level of that name.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Privileged, Self::Baseline, Self::Restricted].into_iter().find(|level| level.word() == word)
    }

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }

    /// Why a pod is not of this level, as `violates PodSecurity "…": …`; `None` where it is.
    pub fn violation(self, pod: &PodSpec) -> Option<String> {
        let containers = containers(pod);
        let subject = Subject { pod, containers: &containers };
        let mut faults = Vec::new();
        if self >= Self::Baseline {
            baseline::check(&subject, self, &mut faults);
        }
        if self == Self::Restricted {
            restricted::check(&subject, &mut faults);
        }
        let told = || format!("violates PodSecurity \"{}:latest\": {}", self.word(), faults.join(", "));
        (!faults.is_empty()).then(told)
    }
}

/// The levels of a namespace with these labels: what is refused, and what is warned of.
pub fn levels(label: impl Fn(&str) -> Option<Level>) -> (Level, Level) {
    let enforced = label(ENFORCE).unwrap_or(Level::DEFAULT);
    (enforced, label(WARN).unwrap_or(enforced))
}

/// Faults of a namespace's labels: the key and what is wrong with its value.
pub(crate) fn faults(labels: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str, &'static str)> {
    labels.iter().filter_map(|(key, value)| {
        let mode = key.strip_prefix(PREFIX)?;
        let why = match mode {
            "enforce" | "warn" | "audit" if Level::parse(value).is_none() => {
                "must be one of privileged, baseline, restricted"
            }
            "enforce-version" | "warn-version" | "audit-version" if !is_version(value) => {
                "must be \"latest\" or \"v1.x\""
            }
            _ => return None,
        };
        Some((key.as_str(), value.as_str(), why))
    })
}

fn is_version(text: &str) -> bool {
    let minor = text.strip_prefix("v1.").unwrap_or_default();
    text == "latest" || !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit())
}

/// A pod with all of its containers.
struct Subject<'a> {
    pod: &'a PodSpec,
    containers: &'a [View<'a>],
}

/// What the rules look at of a container of any kind.
struct View<'a> {
    name: &'a str,
    security: Option<&'a SecurityContext>,
    host_ports: Vec<i32>,
    /// Of its probes and hooks: the hosts that they are sent to.
    hosts: Vec<&'a str>,
}

impl Subject<'_> {
    /// The names of the containers that a rule does not like.
    fn named(&self, is_wrong: impl Fn(&View<'_>) -> bool) -> Vec<&str> {
        self.containers.iter().filter(|container| is_wrong(container)).map(|container| container.name).collect()
    }

    /// `pod and container "a"`, as far as they are named here; `None`: nobody is.
    fn who(&self, is_pod: bool, is_wrong: impl Fn(&View<'_>) -> bool) -> Option<String> {
        let names = self.named(is_wrong);
        let containers = (!names.is_empty()).then(|| listed("container", &names));
        let parts: Vec<String> = is_pod.then(|| "pod".to_owned()).into_iter().chain(containers).collect();
        (!parts.is_empty()).then(|| parts.join(" and "))
    }

    /// `container "a" must not include "X" in securityContext.capabilities.add`; `None`: all that are added are allowed.
    fn adding(&self, allowed: &[&str]) -> Option<String> {
        let is_wrong = |name: &&str| !allowed.contains(name);
        let wrong = self.named(|container| container.added().any(|name| is_wrong(&name)));
        let names: BTreeSet<&str> = self.containers.iter().flat_map(View::added).filter(is_wrong).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let told = || {
            let (who, names) = (listed("container", &wrong), quoted(&names));
            format!("{who} must not include {names} in securityContext.capabilities.add")
        };
        (!wrong.is_empty()).then(told)
    }

    /// `volume "v"`; `None`: no volume is wrong.
    fn volumes(&self, is_wrong: impl Fn(&Volume) -> bool) -> Option<String> {
        let volumes = self.pod.volumes.iter().flatten().filter(|volume| is_wrong(volume));
        let names: Vec<&str> = volumes.map(|volume| volume.name.as_str()).collect();
        (!names.is_empty()).then(|| listed("volume", &names))
    }
}

impl View<'_> {
    fn capabilities(&self) -> Option<&Capabilities> {
        self.security?.capabilities.as_ref()
    }

    fn added(&self) -> impl Iterator<Item = &str> {
        self.capabilities().into_iter().flat_map(|all| all.add.iter().flatten()).map(String::as_str)
    }
}

fn containers(pod: &PodSpec) -> Vec<View<'_>> {
    let init = pod.init_containers.iter().flatten().map(of_container);
    let main = pod.containers.iter().map(of_container);
    let ephemeral = pod.ephemeral_containers.iter().flatten().map(of_ephemeral);
    init.chain(main).chain(ephemeral).collect()
}

fn of_container(container: &Container) -> View<'_> {
    let ports = container.ports.iter().flatten().filter_map(|port| port.host_port).filter(|port| *port != 0);
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let probes = probes.into_iter().flatten().flat_map(probe_hosts);
    let hooks = container.lifecycle.iter().flat_map(|hooks| [&hooks.post_start, &hooks.pre_stop]).flatten();
    let hooks = hooks.flat_map(|hook| {
        let http = hook.http_get.as_ref().and_then(|action| action.host.as_deref());
        http.into_iter().chain(hook.tcp_socket.as_ref().and_then(|action| action.host.as_deref()))
    });
    View {
        name: &container.name,
        security: container.security_context.as_ref(),
        host_ports: ports.collect(),
        hosts: probes.chain(hooks).filter(|host| !host.is_empty()).collect(),
    }
}

fn probe_hosts(probe: &Probe) -> impl Iterator<Item = &str> {
    let http = probe.http_get.as_ref().and_then(|action| action.host.as_deref());
    http.into_iter().chain(probe.tcp_socket.as_ref().and_then(|action| action.host.as_deref()))
}

fn of_ephemeral(container: &EphemeralContainer) -> View<'_> {
    View {
        name: &container.name,
        security: container.security_context.as_ref(),
        host_ports: Vec::new(),
        hosts: Vec::new(),
    }
}

/// `container "a"` or `containers "a", "b"`.
fn listed(what: &str, names: &[&str]) -> String {
    format!("{what}{} {}", if names.len() == 1 { "" } else { "s" }, quoted(names))
}

/// `"a", "b"`.
fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
