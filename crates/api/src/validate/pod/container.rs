//! Faults of containers: names, images, ports, mounts.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec, VolumeMount};

use super::{env, probe, resources};
use crate::validate::names;
use crate::validate::path::{Faults, Path, unique};

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
/// How long a pod may take to end where it says nothing.
const GRACE_SECONDS: i64 = 30;
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Faults of all containers of a pod; `volumes` are the names that mounts may refer to.
pub(super) fn containers(spec: &PodSpec, volumes: &HashSet<&str>, at: &Path<'_>, faults: &mut Faults) {
    let regular = at.field("containers");
    let grace = spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS);
    if spec.containers.is_empty() {
        faults.required(&regular, "");
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let at = regular.index(index);
        one(container, volumes, &at, faults);
        if container.restart_policy.is_some() {
            faults.forbidden(&at.field("restartPolicy"), "may not be set for non-init containers");
        }
        probe::of_container(container, grace, &at, faults);
    }
    let first = at.field("initContainers");
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let at = first.index(index);
        one(container, volumes, &at, faults);
        init(container, grace, &at, faults);
    }
    unique_names(spec, &regular, &first, faults);
}

fn unique_names(spec: &PodSpec, regular: &Path<'_>, first: &Path<'_>, faults: &mut Faults) {
    let count = spec.containers.len();
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    unique(all.map(|container| container.name.as_str()), |index, name| {
        let at = index.checked_sub(count).map_or_else(|| regular.index(index), |index| first.index(index));
        faults.duplicate(&at.field("name"), name);
    });
}

/// An init container has no probes, unless it is a sidecar.
fn init(container: &Container, grace_seconds: i64, at: &Path<'_>, faults: &mut Faults) {
    faults.one_of(&at.field("restartPolicy"), container.restart_policy.as_deref(), &["Always"]);
    if container.restart_policy.as_deref() == Some("Always") {
        return probe::of_container(container, grace_seconds, at, faults);
    }
    let fields = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, there)| *there) {
        faults.forbidden(&at.field(field), "may not be set for init containers without restartPolicy=Always");
    }
}

fn one(container: &Container, volumes: &HashSet<&str>, at: &Path<'_>, faults: &mut Faults) {
    match container.name.as_str() {
        "" => faults.required(&at.field("name"), ""),
        name => faults.all(&at.field("name"), name, names::dns1123_label(name)),
    }
    match container.image.as_deref().unwrap_or_default() {
        "" => faults.required(&at.field("image"), ""),
        image if image.trim() != image => {
            faults.invalid(&at.field("image"), image, "must not have leading or trailing whitespace");
        }
        _ => {}
    }
    faults.one_of(&at.field("imagePullPolicy"), container.image_pull_policy.as_deref(), &PULL_POLICIES);
    let policy = container.termination_message_policy.as_deref();
    faults.one_of(&at.field("terminationMessagePolicy"), policy, &["File", "FallbackToLogsOnError"]);
    ports(container.ports.as_deref().unwrap_or_default(), &at.field("ports"), faults);
    env::env(container, at, faults);
    mounts(container.volume_mounts.as_deref().unwrap_or_default(), volumes, &at.field("volumeMounts"), faults);
    resources::of_container(container, at, faults);
    if container.volume_devices.iter().flatten().count() > 0 {
        faults.forbidden(&at.field("volumeDevices"), "block devices are not available here; use volumeMounts");
    }
}

fn ports(ports: &[ContainerPort], at: &Path<'_>, faults: &mut Faults) {
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            faults.all(&at.field("name"), name, names::port_name(name));
        }
        match port.container_port {
            0 => faults.required(&at.field("containerPort"), ""),
            number => faults.all(&at.field("containerPort"), number, names::port_number(number)),
        }
        if let Some(number) = port.host_port.filter(|number| *number != 0) {
            faults.all(&at.field("hostPort"), number, names::port_number(number));
        }
        faults.one_of(&at.field("protocol"), port.protocol.as_deref(), &PROTOCOLS);
    }
    unique(ports.iter().map(|port| port.name.as_deref().unwrap_or_default()), |index, name| {
        if !name.is_empty() {
            faults.duplicate(&at.index(index).field("name"), name);
        }
    });
}

/// Two containers of a pod cannot have the same port of the host.
pub(super) fn host_ports(spec: &PodSpec, at: &Path<'_>, faults: &mut Faults) {
    let containers = at.field("containers");
    let mut taken = HashSet::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let at = containers.index(index);
        let at = at.field("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let at = at.index(index);
            let key = (number, port.protocol.as_deref().unwrap_or("TCP"), port.host_ip.as_deref().unwrap_or_default());
            if !taken.insert(key) {
                faults.duplicate(&at.field("hostPort"), format!("{}/{}/{number}", key.1, key.2));
            }
            if spec.host_network == Some(true) && number != port.container_port {
                faults.invalid(
                    &at.field("containerPort"),
                    port.container_port,
                    "must match `hostPort` when `hostNetwork` is true",
                );
            }
        }
    }
}

fn mounts(mounts: &[VolumeMount], volumes: &HashSet<&str>, at: &Path<'_>, faults: &mut Faults) {
    for (index, mount) in mounts.iter().enumerate() {
        let at = at.index(index);
        match mount.name.as_str() {
            "" => faults.required(&at.field("name"), ""),
            name if !volumes.contains(name) => faults.not_found(&at.field("name"), name),
            _ => {}
        }
        if mount.mount_path.is_empty() {
            faults.required(&at.field("mountPath"), "");
        }
        sub_path(mount.sub_path.as_deref(), &at.field("subPath"), faults);
        sub_path(mount.sub_path_expr.as_deref(), &at.field("subPathExpr"), faults);
        if mount.sub_path.is_some() && mount.sub_path_expr.is_some() {
            let why = "subPathExpr and subPath are mutually exclusive";
            faults.invalid(&at.field("subPathExpr"), &mount.sub_path_expr, why);
        }
    }
    let paths = mounts.iter().map(|mount| mount.mount_path.as_str());
    unique(paths, |index, path| {
        if !path.is_empty() {
            faults.invalid(&at.index(index).field("mountPath"), path, "must be unique");
        }
    });
}

/// A path below a volume's root.
pub(super) fn sub_path(path: Option<&str>, at: &Path<'_>, faults: &mut Faults) {
    let path = path.unwrap_or_default();
    if path.starts_with('/') {
        faults.invalid(at, path, "must be a relative path");
    }
    if path.split('/').any(|part| part == "..") {
        faults.invalid(at, path, "must not contain '..'");
    }
}
