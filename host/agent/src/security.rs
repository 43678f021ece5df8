//! What a container may do, from its `securityContext` and its pod's. Pure.

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, SecurityContext};
use wherry_runtime::Security;

/// The container's own fields go before the pod's.
pub fn security(spec: &PodSpec, fields: &Container) -> Security {
    let (pod_default, own_default) = (PodSecurityContext::default(), SecurityContext::default());
    let pod = spec.security_context.as_ref().unwrap_or(&pod_default);
    let own = fields.security_context.as_ref().unwrap_or(&own_default);
    let id = |own: Option<i64>, pods: Option<i64>| own.or(pods).and_then(|id| u32::try_from(id).ok());
    let capabilities = own.capabilities.as_ref();
    let names = |list: Option<&Vec<String>>| list.into_iter().flatten().map(|name| capability(name)).collect();
    let groups = pod.supplemental_groups.iter().flatten().chain(&pod.fs_group);
    let profile = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    Security {
        user: id(own.run_as_user, pod.run_as_user),
        group: id(own.run_as_group, pod.run_as_group),
        groups: groups.filter_map(|&group| u32::try_from(group).ok()).collect(),
        is_never_root: own.run_as_non_root.or(pod.run_as_non_root) == Some(true),
        has_read_only_root: own.read_only_root_filesystem == Some(true),
        may_gain_privileges: own.allow_privilege_escalation != Some(false),
        is_privileged: own.privileged == Some(true),
        capabilities_added: names(capabilities.and_then(|all| all.add.as_ref())),
        capabilities_dropped: names(capabilities.and_then(|all| all.drop.as_ref())),
        is_unconfined: profile.is_some_and(|profile| profile.type_ == "Unconfined"),
    }
}

/// Without the prefix that some write.
fn capability(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_goes_before_its_pod() {
        let spec: PodSpec = serde_json::from_value(json!({
            "securityContext": {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4],
                                "runAsNonRoot": true, "seccompProfile": {"type": "Unconfined"}},
            "containers": [
                {"name": "plain"},
                {"name": "own", "securityContext": {
                    "runAsUser": 7, "runAsNonRoot": false, "readOnlyRootFilesystem": true,
                    "allowPrivilegeEscalation": false, "seccompProfile": {"type": "RuntimeDefault"},
                    "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["all"]}}}
            ],
        }))
        .unwrap();
        let of_pod = Security {
            user: Some(1),
            group: Some(2),
            groups: vec![4, 3],
            is_never_root: true,
            may_gain_privileges: true,
            is_unconfined: true,
            ..Security::default()
        };
        assert_eq!(security(&spec, &spec.containers[0]), of_pod);
        let own = Security {
            user: Some(7),
            is_never_root: false,
            has_read_only_root: true,
            may_gain_privileges: false,
            capabilities_added: vec!["NET_ADMIN".into()],
            capabilities_dropped: vec!["ALL".into()],
            is_unconfined: false,
            ..of_pod
        };
        assert_eq!(security(&spec, &spec.containers[1]), own);
    }
}
