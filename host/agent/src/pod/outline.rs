//! What `step` needs to know of a pod's spec, and how it is read from the pod. No images, no probes' details.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use wherry_api::kinds::Pod;

/// `terminationGracePeriodSeconds` where the pod names none.
const GRACE_SECONDS_DEFAULT: u32 = 30;

/// The spec of a pod, reduced to what decides its life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// `namespace_(uid)` of messages.
    pub title: Box<str>,
    /// Init containers and sidecars in their order, then the main containers.
    pub containers: Vec<ContainerOutline>,
    /// `restartPolicy`.
    pub restart: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace_seconds: u32,
    /// `activeDeadlineSeconds`.
    pub deadline_seconds: Option<u32>,
}

/// A container, reduced to what decides its life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerOutline {
    /// Its name.
    pub name: Box<str>,
    /// As the pod names it.
    pub image: Box<str>,
    /// What it is for.
    pub role: Role,
    /// Whether it has a `startupProbe`.
    pub startup: bool,
    /// Whether it has a `livenessProbe`.
    pub liveness: bool,
    /// Whether it has a `readinessProbe`.
    pub readiness: bool,
}

/// What a container is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: started in order, kept running, stopped last.
    Sidecar,
    /// One of `spec.containers`.
    #[default]
    Main,
}

/// `spec.restartPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    #[default]
    Always,
    /// Unless it exits with 0.
    OnFailure,
    /// Never.
    Never,
}

impl Outline {
    /// Reads a pod's.
    pub fn of(pod: &Pod) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &pod.metadata;
        let inits = spec.init_containers.iter().flatten().map(|c| ContainerOutline::of(c, init_role(c)));
        let mains = spec.containers.iter().map(|c| ContainerOutline::of(c, Role::Main));
        Self {
            title: format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid)).into(),
            containers: inits.chain(mains).collect(),
            restart: RestartPolicy::parse(spec.restart_policy.as_deref()),
            grace_seconds: seconds(spec.termination_grace_period_seconds).unwrap_or(GRACE_SECONDS_DEFAULT),
            deadline_seconds: seconds(spec.active_deadline_seconds),
        }
    }
}

fn seconds(seconds: Option<i64>) -> Option<u32> {
    seconds.map(|s| u32::try_from(s.max(0)).unwrap_or(u32::MAX))
}

fn init_role(container: &Container) -> Role {
    if container.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init }
}

impl ContainerOutline {
    /// Whether it has any probe.
    pub fn is_probed(&self) -> bool {
        self.startup || self.liveness || self.readiness
    }

    fn of(container: &Container, role: Role) -> Self {
        let probed = role != Role::Init;
        Self {
            name: container.name.as_str().into(),
            image: container.image.as_deref().unwrap_or_default().into(),
            role,
            startup: probed && container.startup_probe.is_some(),
            liveness: probed && container.liveness_probe.is_some(),
            readiness: probed && container.readiness_probe.is_some(),
        }
    }
}

impl RestartPolicy {
    fn parse(word: Option<&str>) -> Self {
        match word {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }

    /// Whether a container that ended with `code` is started again.
    pub fn restarts(self, role: Role, code: i32) -> bool {
        match (role, self) {
            (Role::Sidecar, _) | (Role::Main, Self::Always) => true,
            (Role::Init, Self::Always) | (_, Self::OnFailure) => code != 0,
            (_, Self::Never) => false,
        }
    }
}
