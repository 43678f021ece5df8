//! Machines with a network of their own each: network namespaces that are made here and end with the test, joined by
//! switches in another. A cable can be pulled while both ends live, and neither is told: nothing is refused or reset.

use std::net::Ipv4Addr;

use crate::place::Place;
use crate::skipped::skipped;

/// Switches, each of a network `172.31.NUMBER.0/24`, and a place at all of them: the first address of each.
pub struct Lan {
    place: Place,
}

/// A machine at some of the switches.
pub struct Host {
    place: Place,
    number: u8,
}

impl Lan {
    /// So many switches; `None` where there can be none, which is said loudly, with why.
    pub fn new(test: &str, switches: u8) -> Option<Self> {
        match Self::build(switches) {
            Ok(lan) => Some(lan),
            Err(error) => {
                let hint = "`apt-get install iproute2`, run as root";
                skipped(test, format_args!("no network of its own: {error:#}; {hint}"));
                None
            }
        }
    }

    fn build(switches: u8) -> anyhow::Result<Self> {
        let place = Place::new()?;
        for switch in 0..switches {
            place.ip(&format!("link add name switch{switch} type bridge"))?;
            place.ip(&format!("addr add {}/24 dev switch{switch}", address(switch, 1)))?;
            place.ip(&format!("link set switch{switch} up"))?;
        }
        Ok(Self { place })
    }

    /// A machine with a cable to each of these switches, and the address of its number there (2 to 254).
    pub fn host(&self, number: u8, switches: &[u8]) -> anyhow::Result<Host> {
        let place = Place::new()?;
        let theirs = place.path();
        for switch in switches {
            let port = port(number, *switch);
            self.place.ip(&format!("link add name {port} type veth peer name eth{switch} netns {theirs}"))?;
            self.place.ip(&format!("link set {port} master switch{switch} up"))?;
            place.ip(&format!("addr add {}/24 dev eth{switch}", address(*switch, number)))?;
            place.ip(&format!("link set eth{switch} up"))?;
        }
        Ok(Host { place, number })
    }

    /// Nothing gets from a machine to that switch any more, or back.
    pub fn cut(&self, host: &Host, switch: u8) -> anyhow::Result<()> {
        self.place.ip(&format!("link set {} nomaster", port(host.number, switch)))
    }

    /// It does again.
    pub fn mend(&self, host: &Host, switch: u8) -> anyhow::Result<()> {
        self.place.ip(&format!("link set {} master switch{switch}", port(host.number, switch)))
    }

    /// Does it where all switches are, with all threads and processes that it starts.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.place.within(work)
    }
}

impl Host {
    /// Its address at a switch.
    pub fn address(&self, switch: u8) -> String {
        address(switch, self.number).to_string()
    }

    /// Does it on this machine's network, with all threads and processes that it starts.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.place.within(work)
    }
}

/// Where a machine's cable ends at a switch.
fn port(number: u8, switch: u8) -> String {
    format!("port{number}-{switch}")
}

const fn address(switch: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, switch, number)
}
