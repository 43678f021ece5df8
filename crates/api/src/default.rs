//! Defaults: what Kubernetes fills in where a client says nothing. Follows `k8s.io/kubernetes/pkg/apis/*/v1/defaults.go`
//! and, for pods, the admission plugins that every cluster has.

pub(crate) mod pod;
pub(crate) mod service;
pub(crate) mod workload;

/// Gives an absent text its default.
pub(crate) fn text(field: &mut Option<String>, default: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(default.to_owned());
    }
}
