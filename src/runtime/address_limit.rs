//! Limit on connections per client address.

use crate::config::Config;
use crate::config::network::IpNetwork;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of parts, each with its own lock. A power of two.
const PARTS: usize = 16;

/// The unit that is counted: an IPv4 address, or an IPv6 network of 64 bits, because each host of a network
/// can use many addresses (RFC 4291 section 2.5.4). An IPv6 address that stands for an IPv4 address is that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AddressGroup {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6([u8; 8]),
}

impl From<IpAddr> for AddressGroup {
    fn from(addr: IpAddr) -> AddressGroup {
        match addr.to_canonical() {
            IpAddr::V4(addr) => AddressGroup::V4(addr),
            IpAddr::V6(addr) => match embedded(addr) {
                Some(addr) => AddressGroup::V4(addr),
                None => {
                    let [a, b, c, d, e, f, g, h, ..] = addr.octets();
                    AddressGroup::V6([a, b, c, d, e, f, g, h])
                }
            },
        }
    }
}

/// The IPv4 address in an address of NAT64 (`64:ff9b::/96`, RFC 6052 section 2.1) or 6to4 (`2002::/16`, RFC 3056 section 2).
/// Behind a translator all clients of IPv4 would share one network of the former, and one of them has many of the latter.
fn embedded(addr: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |[high, low]: [u16; 2]| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match addr.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4([high, low])),
        [0x2002, high, low, ..] => Some(v4([high, low])),
        _ => None,
    }
}

impl AddressGroup {
    /// The group that this client is counted for. Clients over Unix sockets have no address, and those of the networks
    /// `exempt` are not counted.
    pub(crate) fn counted(
        client: Option<SocketAddr>,
        exempt: &[IpNetwork],
    ) -> Option<AddressGroup> {
        let addr = client?.ip();
        let is_exempt = exempt.iter().any(|network| network.contains(addr));
        (!is_exempt).then(|| addr.into())
    }

    fn part(self) -> usize {
        let sum = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum ^ byte);
        let sum = match self {
            AddressGroup::V4(addr) => sum(&addr.octets()),
            AddressGroup::V6(bytes) => sum(&bytes),
        };
        usize::from(sum) % PARTS
    }
}

/// Has an entry for each address with connections, so no more entries than there are connections.
pub(crate) struct Addresses {
    /// For each address.
    most: usize,
    /// Networks that are not counted.
    exempt: Vec<IpNetwork>,
    parts: [Mutex<HashMap<AddressGroup, usize>>; PARTS],
}

impl Addresses {
    pub(crate) fn new(config: &Config) -> Addresses {
        Addresses {
            most: config.most_per_address(),
            exempt: config.trusted_proxies.clone(),
            parts: Default::default(),
        }
    }

    /// Counts one more connection of this client. False if its address has reached the limit: then it is not
    /// counted.
    pub(crate) fn enter(&self, peer: Option<SocketAddr>) -> bool {
        self.add(peer, self.most)
    }

    /// Counts a connection that is open already, without regard to the limit.
    pub(crate) fn enter_anyway(&self, peer: Option<SocketAddr>) {
        self.add(peer, usize::MAX);
    }

    fn add(&self, peer: Option<SocketAddr>, most: usize) -> bool {
        let Some(group) = self.group(peer) else {
            return true;
        };
        let mut part = self.part(group);
        let open = part.get(&group).copied().unwrap_or(0);
        if open >= most {
            return false;
        }
        part.insert(group, open + 1);
        true
    }

    /// A connection of this client has ended.
    pub(crate) fn leave(&self, peer: Option<SocketAddr>) {
        let Some(group) = self.group(peer) else {
            return;
        };
        let mut part = self.part(group);
        match part.get_mut(&group) {
            Some(open) if *open > 1 => *open -= 1,
            _ => {
                part.remove(&group);
            }
        }
    }

    fn group(&self, peer: Option<SocketAddr>) -> Option<AddressGroup> {
        AddressGroup::counted(peer, &self.exempt)
    }

    fn part(&self, group: AddressGroup) -> MutexGuard<'_, HashMap<AddressGroup, usize>> {
        let part = self.parts[group.part()].lock();
        part.unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let part = |part: &Mutex<HashMap<_, _>>| part.lock().expect("no panic").len();
        self.parts.iter().map(part).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(most: usize) -> Addresses {
        Addresses::new(&Config::default().connections_per_address(most))
    }

    fn peer(addr: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(addr.parse().expect(addr), 1))
    }

    #[test]
    fn ipv4_hosts_and_ipv6_networks_are_counted() {
        for (one, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("2001:db8:1:1::1", "2001:db8:1:1:ffff::", "2001:db8:1:2::1"),
            ("192.0.2.1", "64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2"),
            ("192.0.2.1", "2002:c000:201:2::3", "2002:c000:202:2::3"),
            // A network of the translator of an operator is one network.
            (
                "64:ff9b:1::192.0.2.1",
                "64:ff9b:1::192.0.2.2",
                "::192.0.2.1",
            ),
        ] {
            let addresses = addresses(2);
            assert!(addresses.enter(peer(one)) && addresses.enter(peer(same)));
            assert!(!addresses.enter(peer(one)) && !addresses.enter(peer(same)));
            assert!(addresses.enter(peer(other)));
            addresses.leave(peer(one));
            assert!(addresses.enter(peer(same)));
            assert!(!addresses.enter(peer(same)));
        }
    }

    #[test]
    fn loopback_and_unix_sockets_are_not() {
        let addresses = addresses(0);
        for _ in 0..3 {
            assert!(addresses.enter(None));
            for addr in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
                assert!(addresses.enter(peer(addr)));
            }
        }
        assert!(!addresses.enter(peer("192.0.2.1")), "0 is none");
        assert_eq!(addresses.len(), 0);
    }

    #[test]
    fn no_entry_is_kept_for_clients_that_have_left() {
        let addresses = addresses(10);
        let of = |n: u16| Some(SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 1)));
        for _ in 0..3 {
            (0..1000).for_each(|n| assert!(addresses.enter(of(n))));
        }
        assert_eq!(addresses.len(), 1000);
        for _ in 0..3 {
            (0..1000).for_each(|n| addresses.leave(of(n)));
        }
        assert_eq!(addresses.len(), 0);
        addresses.enter_anyway(of(1));
        assert_eq!(addresses.len(), 1);
    }

    #[test]
    fn threads_count_together() {
        let addresses = addresses(1000);
        let entered = std::thread::scope(|scope| {
            let enter = || {
                (0..700)
                    .filter(|_| addresses.enter(peer("192.0.2.1")))
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(enter)).collect();
            let entered = threads.into_iter().map(|t| t.join().expect("no panic"));
            entered.sum::<usize>()
        });
        assert_eq!(entered, 1000);
    }
}
