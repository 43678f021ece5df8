//! Stock kubectl against the real binary, as people use it: the scenes of [`crate::verbs`], and what only kubectl prints.

mod describe;
mod troubles;

use wherry_tests::{Cluster, Kubectl};

use crate::WHERRY;
use crate::verbs::{Client, GUESTS, perform};

#[test]
fn kubectl_as_people_use_it() {
    let cluster = Cluster::start(WHERRY).unwrap();
    if Kubectl::of(&cluster).is_none() {
        eprintln!("SKIPPED: kubectl is not installed");
        return;
    }
    for guest in GUESTS.iter().chain(&["misbehave"]) {
        cluster.load_guest(guest).unwrap();
    }
    perform(
        &cluster,
        Client::Kubectl,
        &[
            ("described", "every kind is described", describe::scene),
            ("troubles", "pods in trouble say why", troubles::scene),
        ],
    );
}
