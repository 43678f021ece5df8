//! What a container may do, for runtimes whose containers are processes of this machine: the fields of Kubernetes'
//! `securityContext`, the pod's where the container has none. Modules can do none of it in any case.

/// What a container may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// `runAsUser`; `None`: the image's.
    pub user: Option<u32>,
    /// `runAsGroup`.
    pub group: Option<u32>,
    /// `supplementalGroups` and `fsGroup`.
    pub groups: Vec<u32>,
    /// `runAsNonRoot`: it does not start as user 0.
    pub is_never_root: bool,
    /// `readOnlyRootFilesystem`.
    pub has_read_only_root: bool,
    /// `allowPrivilegeEscalation`, which is the default.
    pub may_gain_privileges: bool,
    /// `privileged`.
    pub is_privileged: bool,
    /// `capabilities.add`, without `CAP_`.
    pub capabilities_added: Vec<String>,
    /// `capabilities.drop`.
    pub capabilities_dropped: Vec<String>,
    /// `seccompProfile.type: Unconfined`.
    pub is_unconfined: bool,
}
