//! Where the API is reached: the endpoints of the Service `kubernetes`, one address for each master. The leader keeps them.
//!
//! Follows `k8s.io/kubernetes/pkg/controlplane/reconcilers`. Masters at several ports, which Kubernetes has not, have a subset
//! each in the Endpoints, and an EndpointSlice each: `kubernetes`, and `kubernetes-PORT`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use wherry_api::kinds::{EndpointSlice, Endpoints, Kind};
use wherry_api::{Error, Reason};
use wherry_client::DeleteOptions;
use wherry_store::{Member, Role};

use super::{Registry, Target};

const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";

/// The masters' addresses by their ports.
type Places = BTreeMap<u16, BTreeSet<IpAddr>>;

impl Registry {
    /// Makes the endpoints of the API those of the present masters.
    pub async fn publish_masters(&self) -> Result<(), Error> {
        let places = places(&self.store().members().borrow(), self.store().me().id, self.inner.config.advertise);
        self.ensure(Endpoints::resource(), Some(NAMESPACE), endpoints(&places)).await?;
        let slices = slices(&places);
        for slice in slices.values() {
            self.ensure(EndpointSlice::resource(), Some(NAMESPACE), slice.clone()).await?;
        }
        self.withdraw_slices(|name| slices.contains_key(name)).await
    }

    /// Removes the slices of ports at which no master is any more.
    async fn withdraw_slices(&self, is_kept: impl Fn(&str) -> bool) -> Result<(), Error> {
        let known = self.store().snapshot(EndpointSlice::resource());
        let is_gone = |name: &str| {
            let port = name.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('-'));
            port.is_some_and(|port| port.parse::<u16>().is_ok()) && !is_kept(name)
        };
        for key in known.objects.keys().filter(|key| *key.namespace == *NAMESPACE && is_gone(&key.name)) {
            let target = Target { resource: EndpointSlice::resource(), key: key.clone() };
            match self.delete(&target, &DeleteOptions::default(), false).await {
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where the masters are that vote. This one knows its own address before the others do.
fn places(members: &[(Member, Role)], me: u64, own: SocketAddr) -> Places {
    let voters = members.iter().filter(|(_, role)| *role == Role::Voter);
    let address = |(member, _): &(Member, Role)| if member.id == me { Some(own) } else { member.address.parse().ok() };
    let mut places = Places::new();
    for address in voters.filter_map(address) {
        places.entry(address.port()).or_default().insert(address.ip());
    }
    places
}

fn endpoints(places: &Places) -> Value {
    let subset = |(port, addresses): (&u16, &BTreeSet<IpAddr>)| {
        let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        json!({"addresses": addresses, "ports": ports(*port)})
    };
    // Kubernetes forbids loopback addresses here; a cluster of one machine has no other.
    json!({
        "metadata": {"name": NAME, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": places.iter().map(subset).collect::<Vec<_>>(),
    })
}

/// The slices by their names.
fn slices(places: &Places) -> BTreeMap<String, Value> {
    let slice = |(index, (port, addresses)): (usize, (&u16, &BTreeSet<IpAddr>))| {
        let name = if index == 0 { NAME.to_owned() } else { format!("{NAME}-{port}") };
        let endpoint = |ip: &IpAddr| json!({"addresses": [ip], "conditions": {"ready": true}});
        let slice = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": NAME}},
            "addressType": "IPv4",
            "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
            "ports": ports(*port),
        });
        (name, slice)
    };
    places.iter().enumerate().map(slice).collect()
}

fn ports(port: u16) -> Value {
    json!([{"name": "https", "port": port, "protocol": "TCP"}])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_told_by_port() {
        let voter = |address: &str| (Member { id: 1, address: address.into(), ..Member::default() }, Role::Voter);
        let check = |members: &[(Member, Role)], expected: &str| {
            let slices = slices(&places(members, 7, "127.0.0.1:6443".parse().unwrap()));
            let told = slices.iter().map(|(name, slice)| {
                let addresses = slice["endpoints"].as_array().unwrap().iter();
                let addresses: Vec<&str> = addresses.map(|e| e["addresses"][0].as_str().unwrap()).collect();
                format!("{name} {}:{}", addresses.join(","), slice["ports"][0]["port"])
            });
            assert_eq!(told.collect::<Vec<_>>().join("; "), expected);
        };
        let own = (Member { id: 7, ..Member::default() }, Role::Voter);
        check(&[own, voter("nowhere")], "kubernetes 127.0.0.1:6443");
        check(&[voter("10.0.0.2:1"), voter("10.0.0.1:1")], "kubernetes 10.0.0.1,10.0.0.2:1");
        let learner = (voter("10.0.0.3:1").0, Role::Learner);
        check(&[voter("10.0.0.1:2"), voter("10.0.0.1:1"), learner], "kubernetes 10.0.0.1:1; kubernetes-2 10.0.0.1:2");
    }
}
