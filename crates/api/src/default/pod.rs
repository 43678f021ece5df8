//! Defaults of pods and pod templates.

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, EmptyDirVolumeSource, EnvVar, HTTPGetAction, ObjectFieldSelector,
    PodSecurityContext, PodSpec, Probe, ProjectedVolumeSource, ResourceFieldSelector, ResourceRequirements, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::text;
use crate::kinds::Pod;

/// Mode 0644 of files in volumes.
const FILE_MODE: i32 = 0o644;

/// Defaults of a pod: those of a template, and those that only pods have.
pub(crate) fn pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    template_spec(spec);
    spec.enable_service_links.get_or_insert(true);
    text(&mut spec.service_account_name, "default");
    spec.service_account.clone_from(&spec.service_account_name);
    spec.priority.get_or_insert(0);
    text(&mut spec.preemption_policy, "PreemptLowerPriority");
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        requests_from_limits(container);
    }
}

/// Defaults of a template's spec.
pub(crate) fn template_spec(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.security_context.get_or_insert_with(PodSecurityContext::default);
    same_account(spec);
    let host_network = spec.host_network == Some(true);
    for one in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        container(one, host_network);
    }
    spec.volumes.iter_mut().flatten().for_each(volume);
}

/// `serviceAccount` is the old name of `serviceAccountName`.
fn same_account(spec: &mut PodSpec) {
    if spec.service_account_name.as_deref().is_none_or(str::is_empty) {
        spec.service_account_name.clone_from(&spec.service_account);
    }
    spec.service_account.clone_from(&spec.service_account_name);
}

fn container(container: &mut Container, host_network: bool) {
    if container.image_pull_policy.as_deref().is_none_or(str::is_empty) {
        let latest = is_latest(container.image.as_deref().unwrap_or_default());
        container.image_pull_policy = Some(if latest { "Always" } else { "IfNotPresent" }.into());
    }
    text(&mut container.termination_message_path, "/dev/termination-log");
    text(&mut container.termination_message_policy, "File");
    container.resources.get_or_insert_with(ResourceRequirements::default);
    for port in container.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
        if host_network && port.host_port.is_none_or(|p| p == 0) {
            port.host_port = Some(port.container_port);
        }
    }
    let probes = [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    container.env.iter_mut().flatten().for_each(env);
    if let Some(lifecycle) = &mut container.lifecycle {
        let handlers = [&mut lifecycle.post_start, &mut lifecycle.pre_stop];
        handlers.into_iter().flatten().filter_map(|handler| handler.http_get.as_mut()).for_each(http_get);
    }
}

/// Whether an image's tag may come to mean another image: `latest`, or none and no digest.
fn is_latest(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or(image);
    !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(probe: &mut Probe) {
    let least_one = |field: &mut Option<i32>, default| {
        if field.is_none_or(|value| value == 0) {
            *field = Some(default);
        }
    };
    least_one(&mut probe.timeout_seconds, 1);
    least_one(&mut probe.period_seconds, 10);
    least_one(&mut probe.success_threshold, 1);
    least_one(&mut probe.failure_threshold, 3);
    if let Some(get) = &mut probe.http_get {
        http_get(get);
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn http_get(get: &mut HTTPGetAction) {
    text(&mut get.path, "/");
    text(&mut get.scheme, "HTTP");
}

fn env(env: &mut EnvVar) {
    let Some(from) = &mut env.value_from else { return };
    from.field_ref.iter_mut().for_each(field_ref);
    from.resource_field_ref.iter_mut().for_each(resource_ref);
}

fn field_ref(field: &mut ObjectFieldSelector) {
    text(&mut field.api_version, "v1");
}

fn resource_ref(field: &mut ResourceFieldSelector) {
    field.divisor.get_or_insert_with(|| Quantity("0".into()));
}

fn requests_from_limits(container: &mut Container) {
    let Some(resources) = &mut container.resources else { return };
    let Some(limits) = resources.limits.as_ref().filter(|limits| !limits.is_empty()) else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        if !requests.contains_key(name) {
            requests.insert(name.clone(), limit.clone());
        }
    }
}

fn volume(volume: &mut Volume) {
    if *volume == (Volume { name: volume.name.clone(), ..Volume::default() }) {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(map) = &mut volume.config_map {
        map.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(FILE_MODE);
        downward.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(path) = &mut volume.host_path {
        path.type_.get_or_insert_default();
    }
    volume.projected.iter_mut().for_each(projected);
}

fn downward_file(file: &mut DownwardAPIVolumeFile) {
    file.field_ref.iter_mut().for_each(field_ref);
    file.resource_field_ref.iter_mut().for_each(resource_ref);
}

fn projected(projected: &mut ProjectedVolumeSource) {
    projected.default_mode.get_or_insert(FILE_MODE);
    for source in projected.sources.iter_mut().flatten() {
        if let Some(token) = &mut source.service_account_token {
            token.expiration_seconds.get_or_insert(3600);
        }
        let files = source.downward_api.iter_mut().flat_map(|downward| downward.items.iter_mut().flatten());
        files.for_each(downward_file);
    }
}
