//! The pod addresses of a node: given out in order, and those given back are used again last.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The first address after the network's own (0) and the gateway's (1).
const FIRST_OFFSET: u32 = 2;

/// Four bytes for an address that was used and given back, nothing for those never used.
#[derive(Debug)]
pub(crate) struct Addresses {
    range: IpNet,
    next: u32,
    end: u32,
    returned: VecDeque<u32>,
}

impl Addresses {
    pub(crate) fn new(range: IpNet) -> Self {
        let host_bits = u32::from(range.max_prefix_len() - range.prefix_len());
        let size = 1_u32.checked_shl(host_bits).unwrap_or(u32::MAX);
        // An IPv4 range ends with its broadcast address.
        let end = if range.addr().is_ipv4() { size.saturating_sub(1) } else { size };
        Self { range, next: FIRST_OFFSET, end, returned: VecDeque::new() }
    }

    pub(crate) fn take(&mut self) -> Option<IpAddr> {
        if self.next < self.end {
            self.next += 1;
            return self.address(self.next - 1);
        }
        let offset = self.returned.pop_front()?;
        self.address(offset)
    }

    /// Takes this very address, if it is of the range and free.
    pub(crate) fn take_exactly(&mut self, address: IpAddr) -> bool {
        let Some(offset) = self.offset(address).filter(|offset| (FIRST_OFFSET..self.end).contains(offset)) else {
            return false;
        };
        if offset < self.next {
            let at = self.returned.iter().position(|returned| *returned == offset);
            return at.and_then(|at| self.returned.remove(at)).is_some();
        }
        self.returned.extend(self.next..offset);
        self.next = offset + 1;
        true
    }

    pub(crate) fn give_back(&mut self, address: IpAddr) {
        if let Some(offset) = self.offset(address).filter(|offset| (FIRST_OFFSET..self.end).contains(offset)) {
            self.returned.push_back(offset);
        }
    }

    fn address(&self, offset: u32) -> Option<IpAddr> {
        match self.range.network() {
            IpAddr::V4(base) => base.to_bits().checked_add(offset).map(|bits| Ipv4Addr::from_bits(bits).into()),
            IpAddr::V6(base) => base.to_bits().checked_add(offset.into()).map(|bits| Ipv6Addr::from_bits(bits).into()),
        }
    }

    fn offset(&self, address: IpAddr) -> Option<u32> {
        match (self.range.network(), address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => address.to_bits().checked_sub(base.to_bits()),
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                address.to_bits().checked_sub(base.to_bits()).and_then(|offset| offset.try_into().ok())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, expected: &[&str]) {
        let mut addresses = Addresses::new(range.parse().unwrap());
        let taken: Vec<String> =
            std::iter::from_fn(|| addresses.take()).map(|address| address.to_string()).take(8).collect();
        assert_eq!(taken, expected, "{range}");
    }

    #[test]
    fn skips_network_gateway_and_broadcast() {
        check("10.1.2.0/30", &["10.1.2.2"]);
        check("10.1.2.0/29", &["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"]);
        check("10.1.2.0/31", &[]);
        check("fd00::/126", &["fd00::2", "fd00::3"]);
    }

    #[test]
    fn reuses_the_longest_unused_last() {
        let mut addresses = Addresses::new("10.0.0.0/29".parse().unwrap());
        let first = addresses.take().unwrap();
        addresses.give_back(first);
        // The gateway's was never given out.
        addresses.give_back("10.0.0.1".parse().unwrap());
        let rest: Vec<IpAddr> = std::iter::from_fn(|| addresses.take()).collect();
        assert_eq!(rest.len(), 5);
        assert_eq!(rest.last(), Some(&first));
    }
}
