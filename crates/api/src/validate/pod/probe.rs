//! Faults of probes and lifecycle hooks.

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::validate::names;
use crate::validate::path::{Faults, Path};

/// Faults of a container's probes and hooks.
pub(super) fn of_container(container: &Container, grace_seconds: i64, at: &Path<'_>, faults: &mut Faults) {
    let probes = [
        ("livenessProbe", &container.liveness_probe, true),
        ("readinessProbe", &container.readiness_probe, false),
        ("startupProbe", &container.startup_probe, true),
    ];
    for (field, one, single_success) in probes {
        if let Some(one) = one {
            probe(one, single_success, &at.field(field), faults);
        }
    }
    if let Some(lifecycle) = &container.lifecycle {
        let at = at.field("lifecycle");
        for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
            if let Some(hook) = hook {
                handler(hook, grace_seconds, &at.field(field), faults);
            }
        }
    }
}

fn probe(probe: &Probe, single_success: bool, at: &Path<'_>, faults: &mut Faults) {
    let handlers = [probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.grpc.is_some()];
    exactly_one(&handlers, at, faults);
    if let Some(get) = &probe.http_get {
        http_get(get, &at.field("httpGet"), faults);
    }
    if let Some(socket) = &probe.tcp_socket {
        port(&socket.port, &at.field("tcpSocket").field("port"), faults);
    }
    if let Some(grpc) = &probe.grpc {
        faults.all(&at.field("grpc").field("port"), grpc.port, names::port_number(grpc.port));
    }
    if let Some(exec) = probe.exec.as_ref().filter(|exec| exec.command.as_ref().is_none_or(Vec::is_empty)) {
        let _ = exec;
        faults.required(&at.field("exec").field("command"), "");
    }
    numbers(probe, single_success, at, faults);
}

fn numbers(probe: &Probe, single_success: bool, at: &Path<'_>, faults: &mut Faults) {
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, value) in numbers {
        faults.not_negative(&at.field(field), value.map(i64::from));
    }
    if let Some(threshold) = probe.success_threshold.filter(|threshold| single_success && *threshold != 1) {
        faults.invalid(&at.field("successThreshold"), threshold, "must be 1");
    }
    if let Some(grace) = probe.termination_grace_period_seconds {
        let at = at.field("terminationGracePeriodSeconds");
        if grace <= 0 {
            faults.invalid(&at, grace, "must be greater than 0");
        }
        if !single_success {
            faults.invalid(&at, grace, "must not be set for readinessProbes");
        }
    }
}

fn exactly_one(handlers: &[bool], at: &Path<'_>, faults: &mut Faults) {
    match handlers.iter().filter(|there| **there).count() {
        0 => faults.required(at, "must specify a handler type"),
        1 => {}
        _ => faults.forbidden(at, "may not specify more than 1 handler type"),
    }
}

fn handler(hook: &LifecycleHandler, grace_seconds: i64, at: &Path<'_>, faults: &mut Faults) {
    let handlers = [hook.exec.is_some(), hook.http_get.is_some(), hook.tcp_socket.is_some(), hook.sleep.is_some()];
    exactly_one(&handlers, at, faults);
    if let Some(get) = &hook.http_get {
        http_get(get, &at.field("httpGet"), faults);
    }
    if let Some(socket) = &hook.tcp_socket {
        port(&socket.port, &at.field("tcpSocket").field("port"), faults);
    }
    if let Some(sleep) = hook.sleep.as_ref().filter(|sleep| !(0..=grace_seconds).contains(&sleep.seconds)) {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})");
        faults.invalid(&at.field("sleep").field("seconds"), sleep.seconds, &why);
    }
}

fn http_get(get: &HTTPGetAction, at: &Path<'_>, faults: &mut Faults) {
    if get.path.as_deref().is_none_or(str::is_empty) {
        faults.required(&at.field("path"), "");
    }
    port(&get.port, &at.field("port"), faults);
    faults.one_of(&at.field("scheme"), get.scheme.as_deref(), &["HTTP", "HTTPS"]);
}

/// A port by number or by name.
pub(super) fn port(port: &IntOrString, at: &Path<'_>, faults: &mut Faults) {
    match port {
        IntOrString::Int(number) => faults.all(at, *number, names::port_number(*number)),
        IntOrString::String(name) => faults.all(at, name, names::port_name(name)),
    }
}
