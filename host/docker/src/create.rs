//! From what a pod wants to what the engine is asked for. Pure.

use std::net::IpAddr;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount as EngineMount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType,
};
use wherry_runtime::{ContainerSpec, Mount, Security, StartError};

use crate::engine::EngineKind;
use crate::labels::{Identity, Owner};
use crate::pause;

/// How many processes a container may have.
const PROCESSES_MAX: i64 = 4096;
/// How much of a container's output the engine keeps, in files: the agent copies it at once into files of its own.
const ENGINE_LOG: (&str, &str) = ("10m", "2");
/// The period in which a limit of the CPU counts, in microseconds, and the smallest share of it that Linux takes.
const CPU_PERIOD_MICROS: i64 = 100_000;
const CPU_QUOTA_MICROS_MIN: i64 = 1000;
/// Linux' weight of one core, and the least weight.
const CPU_SHARES: (i64, i64) = (1024, 2);
/// The sandbox's program needs no name.
const NOBODY: &str = "65534:65534";

/// Where the pods of a cluster ask for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// The server.
    pub address: IpAddr,
    /// The cluster's domain.
    pub domain: &'static str,
}

/// The container that holds a pod's namespaces.
pub fn sandbox(spec: &ContainerSpec, owner: &Owner) -> ContainerCreateBody {
    let host = HostConfig {
        network_mode: Some("none".to_owned()),
        ipc_mode: Some("shareable".to_owned()),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        pids_limit: Some(1),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(pause::IMAGE.to_owned()),
        entrypoint: Some(vec![pause::PROGRAM.to_owned()]),
        hostname: Some(spec.hostname.clone()),
        user: Some(NOBODY.to_owned()),
        labels: Some(Identity::sandbox(spec).labels(owner)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// A container of a pod, in the namespaces of the pod's sandbox. The error is one for the pod's status.
pub fn member(
    spec: &ContainerSpec,
    sandbox: &str,
    owner: &Owner,
    kind: EngineKind,
) -> Result<ContainerCreateBody, StartError> {
    let some = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    let joined = format!("container:{sandbox}");
    Ok(ContainerCreateBody {
        // The digest, so that it is what was made ready, whatever the name stands for by now.
        image: Some(spec.image.digest.clone()),
        entrypoint: some(&spec.command),
        cmd: some(&spec.args),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        // Docker has the sandbox's, and refuses another.
        hostname: (kind == EngineKind::Podman).then(|| spec.hostname.clone()),
        working_dir: Some(spec.working_dir.clone()).filter(|path| !path.is_empty()),
        user: user(&spec.security)?,
        open_stdin: Some(spec.stdin),
        // Also what keeps the engine from ending an attached output together with its input.
        stdin_once: Some(spec.stdin_once),
        tty: Some(spec.tty),
        // The pod's probes say whether it is well.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        labels: Some(Identity::member(spec).labels(owner)),
        host_config: Some(HostConfig {
            network_mode: Some(joined.clone()),
            ipc_mode: Some(joined),
            mounts: Some(spec.mounts.iter().map(mount).collect()),
            ..confined(&spec.security, limited(spec))
        }),
        ..ContainerCreateBody::default()
    })
}

fn limited(spec: &ContainerSpec) -> HostConfig {
    let memory = spec.limits.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let quota = spec.limits.cpu_milli.map(|milli| i64::from(milli) * CPU_PERIOD_MICROS / 1000);
    let shares = i64::from(spec.cpu_requested_milli) * CPU_SHARES.0 / 1000;
    let [size, files] = [ENGINE_LOG.0, ENGINE_LOG.1].map(str::to_owned);
    let bounds = [("max-size".to_owned(), size), ("max-file".to_owned(), files)];
    HostConfig {
        memory,
        // As much: no swap.
        memory_swap: memory,
        cpu_period: quota.map(|_| CPU_PERIOD_MICROS),
        cpu_quota: quota.map(|quota| quota.max(CPU_QUOTA_MICROS_MIN)),
        cpu_shares: Some(shares.max(CPU_SHARES.1)),
        pids_limit: Some(PROCESSES_MAX),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(bounds.into_iter().collect()),
        }),
        ..HostConfig::default()
    }
}

/// Without an entry for seccomp the engine's own profile holds.
fn confined(security: &Security, host: HostConfig) -> HostConfig {
    let mut options = Vec::new();
    if !security.may_gain_privileges {
        options.push("no-new-privileges".to_owned());
    }
    if security.is_unconfined {
        options.push("seccomp=unconfined".to_owned());
    }
    HostConfig {
        privileged: Some(security.is_privileged),
        readonly_rootfs: Some(security.has_read_only_root),
        cap_add: Some(security.capabilities_added.clone()),
        cap_drop: Some(security.capabilities_dropped.clone()),
        group_add: Some(security.groups.iter().map(u32::to_string).collect()),
        security_opt: Some(options),
        ..host
    }
}

/// `USER[:GROUP]`; nothing: the image's.
fn user(security: &Security) -> Result<Option<String>, StartError> {
    match (security.user, security.group) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(StartError {
            reason: "CreateContainerConfigError",
            message: "runAsGroup without runAsUser: say which user has this group".to_owned(),
        }),
        (Some(user), None) => Ok(Some(user.to_string())),
        (Some(user), Some(group)) => Ok(Some(format!("{user}:{group}"))),
    }
}

fn mount(mount: &Mount) -> EngineMount {
    let private = MountBindOptions {
        propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
        ..MountBindOptions::default()
    };
    EngineMount {
        typ: Some(MountType::BIND),
        source: Some(mount.host.display().to_string()),
        target: Some(mount.guest.clone()),
        read_only: Some(mount.read_only),
        bind_options: Some(private),
        ..EngineMount::default()
    }
}

#[cfg(test)]
mod tests;
