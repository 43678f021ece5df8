//! What a name means to a pod, by the DNS specification of Kubernetes with the search domains of a pod applied.

use std::net::IpAddr;

use wherry_api::ObjectKey;
use wherry_vnet::Resolution;

use super::Snapshot;
use super::entry::Entry;

/// The domain of the cluster, and of its Services.
const CLUSTER_DOMAIN: &str = ".cluster.local";
const SERVICE_DOMAIN: &str = ".svc";

pub(crate) fn resolve(table: &Snapshot, namespace: &str, name: &str) -> Resolution {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let (name, absolute) = strip(&name, CLUSTER_DOMAIN);
    let (name, qualified) = strip(name, SERVICE_DOMAIN);
    let labels: Vec<&str> = name.split('.').collect();
    let found = match (labels.as_slice(), qualified) {
        ([service], false) => table.service(namespace, service),
        ([service, of], true) => table.service(of, service),
        ([first, second], false) => {
            table.service(second, first).or_else(|| table.pod_of_service(namespace, second, first))
        }
        ([pod, service, of], _) => table.pod_of_service(of, service, pod),
        _ => None,
    };
    match found {
        // `a.cluster.local` lacks the `svc`.
        Some(_) if absolute && !qualified => Resolution::Missing,
        Some(resolution) => resolution,
        None if absolute || qualified => Resolution::Missing,
        None => Resolution::Foreign,
    }
}

fn strip<'a>(name: &'a str, suffix: &str) -> (&'a str, bool) {
    name.strip_suffix(suffix).map_or((name, false), |rest| (rest, true))
}

impl Snapshot {
    fn service(&self, namespace: &str, name: &str) -> Option<Resolution> {
        let entry = self.get(&ObjectKey::new(namespace, name))?;
        Some(match &entry.alias {
            Some(alias) => Resolution::Alias(alias.clone()),
            None if entry.addresses.is_empty() => pods(entry, |_| true),
            None => Resolution::Addresses(entry.addresses.clone()),
        })
    }

    fn pod_of_service(&self, namespace: &str, service: &str, hostname: &str) -> Option<Resolution> {
        let entry = self.get(&ObjectKey::new(namespace, service))?;
        Some(pods(entry, |own| own == hostname))
    }
}

fn pods(entry: &Entry, which: impl Fn(&str) -> bool) -> Resolution {
    let chosen = entry.pods.iter().filter(|(_, hostname)| which(hostname));
    let addresses: Vec<IpAddr> = chosen.map(|(address, _)| *address).collect();
    if addresses.is_empty() { Resolution::Missing } else { Resolution::Addresses(addresses) }
}
