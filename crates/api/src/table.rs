//! What `kubectl get` prints: columns and cells of each kind, as Kubernetes' own printers have them.
//!
//! Follows `k8s.io/kubernetes/pkg/printers/internalversion`, always with its wide columns. Owns no encoding of the
//! `Table` object itself.

mod age;
mod columns;
mod objects;
mod pod;
mod services;
mod view;
mod workloads;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::Value;

use crate::resource::Resource;

/// A column of a `Table` (`meta.k8s.io/v1 TableColumnDefinition`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading, such as `Ready`.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the name column, else empty.
    pub format: &'static str,
    /// Shown in the table's documentation.
    pub description: &'static str,
    /// 0: always shown; 1: with `-o wide`.
    pub priority: i32,
}

/// The columns of a resource.
pub fn columns(resource: &Resource) -> &'static [Column] {
    columns::of(resource.kind)
}

/// The cells of an object, one a column; ages are counted to `now`.
pub fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    match resource.kind {
        "Pod" => pod::cells(object, now),
        "Deployment" => workloads::deployment(object, now),
        "ReplicaSet" => workloads::replica_set(object, now),
        "Service" => services::service(object, now),
        "Endpoints" => services::endpoints(object, now),
        "EndpointSlice" => services::endpoint_slice(object, now),
        "Ingress" => services::ingress(object, now),
        "IngressClass" => services::ingress_class(object, now),
        "Node" => objects::node(object, now),
        "Namespace" => objects::namespace(object, now),
        "ConfigMap" => objects::config_map(object, now),
        "Secret" => objects::secret(object, now),
        "ServiceAccount" => objects::service_account(object, now),
        "Event" => objects::event(object, now),
        "Lease" => objects::lease(object, now),
        "RuntimeClass" => objects::runtime_class(object, now),
        "CertificateSigningRequest" => objects::signing_request(object, now),
        "PodDisruptionBudget" => workloads::disruption_budget(object, now),
        _ => objects::plain(object, now),
    }
}
