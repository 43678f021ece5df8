//! The rules of `baseline`, in the order of the standard.

use k8s_openapi::api::core::v1::{SELinuxOptions, SeccompProfile};

use super::{Level, Subject, View, listed};

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const SYSCTLS: [&str; 11] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
];

/// What the level does not allow; rules that `restricted` sharpens are left to it.
pub(super) fn check(subject: &Subject<'_>, level: Level, faults: &mut Vec<String>) {
    namespaces(subject, faults);
    privileged(subject, faults);
    if level == Level::Baseline {
        capabilities(subject, faults);
        seccomp(subject, faults);
    }
    host_paths(subject, faults);
    host_ports(subject, faults);
    hosts(subject, faults);
    app_armor(subject, faults);
    selinux(subject, faults);
    proc_mount(subject, faults);
    sysctls(subject, faults);
}

fn namespaces(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let pod = subject.pod;
    let all = [("hostNetwork", pod.host_network), ("hostPID", pod.host_pid), ("hostIPC", pod.host_ipc)];
    let wanted: Vec<String> =
        all.iter().filter(|(_, wanted)| *wanted == Some(true)).map(|(name, _)| format!("{name}=true")).collect();
    if !wanted.is_empty() {
        faults.push(format!("host namespaces ({})", wanted.join(", ")));
    }
}

fn privileged(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let is_wrong = |one: &View<'_>| one.security.is_some_and(|security| security.privileged == Some(true));
    let who = subject.who(false, is_wrong);
    faults.extend(who.map(|who| format!("privileged ({who} must not set securityContext.privileged=true)")));
}

fn capabilities(subject: &Subject<'_>, faults: &mut Vec<String>) {
    faults.extend(subject.adding(&CAPABILITIES).map(|adding| format!("non-default capabilities ({adding})")));
}

fn seccomp(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let is_wrong = |profile: Option<&SeccompProfile>| profile.is_some_and(|profile| profile.type_ == "Unconfined");
    let of_pod = subject.pod.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
    let who = subject
        .who(is_wrong(of_pod), |one| is_wrong(one.security.and_then(|security| security.seccomp_profile.as_ref())));
    let must = "must not set securityContext.seccompProfile.type to \"Unconfined\"";
    faults.extend(who.map(|who| format!("seccompProfile ({who} {must})")));
}

fn host_paths(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let volumes = subject.volumes(|volume| volume.host_path.is_some());
    faults.extend(volumes.map(|volumes| format!("hostPath volumes ({volumes})")));
}

fn host_ports(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let wrong = subject.named(|container| !container.host_ports.is_empty());
    if wrong.is_empty() {
        return;
    }
    let ports: Vec<String> =
        subject.containers.iter().flat_map(|container| &container.host_ports).map(ToString::to_string).collect();
    let (verb, noun) =
        (if wrong.len() == 1 { "uses" } else { "use" }, if ports.len() == 1 { "hostPort" } else { "hostPorts" });
    faults.push(format!("{noun} ({} {verb} {noun} {})", listed("container", &wrong), ports.join(", ")));
}

fn hosts(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let who = subject.who(false, |container| !container.hosts.is_empty());
    let told = |who| format!("probe or lifecycle host ({who} must not set a host for its probes and hooks)");
    faults.extend(who.map(told));
}

fn app_armor(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let pod = subject.pod.security_context.as_ref().and_then(|security| security.app_armor_profile.as_ref());
    let of_containers =
        subject.containers.iter().filter_map(|container| container.security?.app_armor_profile.as_ref());
    if pod.into_iter().chain(of_containers).any(|profile| profile.type_ == "Unconfined") {
        faults.push(
            "forbidden AppArmor profile (must not set securityContext.appArmorProfile.type to \"Unconfined\")".into(),
        );
    }
}

fn selinux(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let is_wrong = |options: &SELinuxOptions| {
        let set = |word: &Option<String>| word.as_deref().is_some_and(|word| !word.is_empty());
        !SELINUX_TYPES.contains(&options.type_.as_deref().unwrap_or_default())
            || set(&options.user)
            || set(&options.role)
    };
    let pod = subject.pod.security_context.as_ref().and_then(|security| security.se_linux_options.as_ref());
    let of_containers = subject.containers.iter().filter_map(|container| container.security?.se_linux_options.as_ref());
    if pod.into_iter().chain(of_containers).any(is_wrong) {
        faults.push(
            "seLinuxOptions (must not set securityContext.seLinuxOptions user, role, or a type of its own)".into(),
        );
    }
}

fn proc_mount(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let mount = |one: &View<'_>| one.security.and_then(|security| security.proc_mount.clone()).unwrap_or_default();
    let who = subject.who(false, |one| !matches!(mount(one).as_str(), "" | "Default"));
    let must = "must not set securityContext.procMount to \"Unmasked\"";
    faults.extend(who.map(|who| format!("procMount ({who} {must})")));
}

fn sysctls(subject: &Subject<'_>, faults: &mut Vec<String>) {
    let sysctls = subject.pod.security_context.iter().flat_map(|security| security.sysctls.iter().flatten());
    let wrong: Vec<&str> = sysctls.map(|one| one.name.as_str()).filter(|name| !SYSCTLS.contains(name)).collect();
    if !wrong.is_empty() {
        faults.push(format!("forbidden sysctls ({})", wrong.join(", ")));
    }
}
