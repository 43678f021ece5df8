//! The people: some write and read keys, some watch them, one runs Deployments.

mod deploy;
mod keys;
mod watch;

use std::sync::Arc;

use wherry_apiserver::Identity;
use wherry_base::{Rng, Trigger};
use wherry_client::Client;

use crate::bug::Bug;
use crate::net::Port;
use crate::process::Process;
use crate::record::Recorder;
use crate::remote::Remote;
use crate::world::{Orders, Size};

pub use keys::{NAMESPACE, is_key, value};

/// How many write and read keys, and how many watch them.
const WRITERS: usize = 4;
const WATCHERS: usize = 3;

/// One of the people.
#[derive(Clone)]
struct Person {
    number: usize,
    client: Client,
    port: Port,
    rng: Arc<Rng>,
    recorder: Recorder,
    orders: Orders,
}

/// Starts them all.
pub fn start(process: &Process, port: &Port, recorder: &Recorder, orders: &Orders, size: Size, bug: Option<Bug>) {
    let drain = Trigger::new().drain();
    let person = |number: usize| {
        let remote = Remote::new(port.clone(), Identity::admin(), size.masters, number, bug);
        let (port, recorder, orders) = (port.clone(), recorder.clone(), orders.clone());
        let rng = Arc::new(Rng::from_entropy());
        Person { number, client: Client::new(Arc::new(remote)), port, rng, recorder, orders }
    };
    process.with(|| {
        (0..WRITERS).for_each(|number| drain.spawn(keys::write(person(number))));
        (WRITERS..WRITERS + WATCHERS).for_each(|number| drain.spawn(watch::watch(person(number))));
        if size.nodes > 0 {
            drain.spawn(deploy::run(person(WRITERS + WATCHERS)));
        }
    });
}
