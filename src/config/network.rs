//! Networks of IP addresses (CIDR).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of IP addresses with a common prefix: `10.0.0.0/8`, `2001:db8::/32`. An address without a prefix
/// length is a range of one address.
///
/// [`Config::trusted_proxies`](crate::Config::trusted_proxies) is a list of such ranges. An IPv6 address that
/// contains an IPv4 address (`::ffff:10.0.0.1`, RFC 4291 section 2.5.5.2) equals that IPv4 address.
///
/// ```
/// use peregrine::config::IpNetwork;
///
/// let network: IpNetwork = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse().expect("an address")));
/// assert!(!network.contains("11.1.2.3".parse().expect("an address")));
/// # Ok::<(), peregrine::config::IpNetworkError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    addr: IpAddr,
    bits: u8,
}

/// Why a text is not an [`IpNetwork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IpNetworkError {
    /// The part before the slash is not an IPv4 or IPv6 address.
    Address,
    /// The part after the slash is not a number from 0 to this one.
    Prefix(u8),
    /// The address has bits set after the prefix. The value is the network without them.
    Host(IpNetwork),
}

impl fmt::Display for IpNetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpNetworkError::Address => f.write_str("not an IP address before the prefix length"),
            IpNetworkError::Prefix(most) => {
                write!(f, "the prefix length is not a number from 0 to {most}")
            }
            IpNetworkError::Host(network) => {
                write!(f, "bits are set after the prefix: the network is {network}")
            }
        }
    }
}

impl std::error::Error for IpNetworkError {}

impl IpNetwork {
    /// The addresses of the loopback: `127.0.0.0/8` and `::1`.
    pub const LOOPBACK: [IpNetwork; 2] = [
        IpNetwork {
            addr: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
            bits: 8,
        },
        IpNetwork {
            addr: IpAddr::V6(Ipv6Addr::LOCALHOST),
            bits: 128,
        },
    ];

    /// The range of the addresses whose first `bits` bits are those of `addr`.
    ///
    /// # Errors
    ///
    /// `bits` is more than 32 (IPv4) or 128 (IPv6), or `addr` has bits set after the prefix.
    pub fn new(addr: IpAddr, bits: u8) -> Result<IpNetwork, IpNetworkError> {
        let most = width(addr);
        if bits > most {
            return Err(IpNetworkError::Prefix(most));
        }
        let network = IpNetwork {
            addr: masked(addr, bits),
            bits,
        };
        if network.addr != addr {
            return Err(IpNetworkError::Host(network));
        }
        Ok(match addr.to_canonical() {
            v4 @ IpAddr::V4(_) if addr.is_ipv6() && bits >= MAPPED => IpNetwork {
                addr: v4,
                bits: bits - MAPPED,
            },
            _ => network,
        })
    }

    /// Whether `addr` is in the range.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        addr.is_ipv4() == self.addr.is_ipv4() && masked(addr, self.bits) == self.addr
    }
}

/// Number of bits before the IPv4 address in an IPv6 address that contains one.
const MAPPED: u8 = 96;

fn width(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with zeros after its first `bits` bits. `bits` is at most its length.
fn masked(addr: IpAddr, bits: u8) -> IpAddr {
    let behind = u32::from(width(addr) - bits);
    match addr {
        IpAddr::V4(addr) => {
            let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
            Ipv4Addr::from_bits(addr.to_bits() & mask).into()
        }
        IpAddr::V6(addr) => {
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            Ipv6Addr::from_bits(addr.to_bits() & mask).into()
        }
    }
}

impl From<IpAddr> for IpNetwork {
    /// The range of this one address.
    fn from(addr: IpAddr) -> IpNetwork {
        let addr = addr.to_canonical();
        IpNetwork {
            bits: width(addr),
            addr,
        }
    }
}

impl FromStr for IpNetwork {
    type Err = IpNetworkError;

    fn from_str(text: &str) -> Result<IpNetwork, IpNetworkError> {
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| IpNetworkError::Address)?;
        let most = width(addr);
        let Some(bits) = bits else {
            return Ok(addr.into());
        };
        // The parser of the standard library would accept a sign.
        let is_number = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        match bits.parse() {
            Ok(bits) if is_number => IpNetwork::new(addr, bits),
            _ => Err(IpNetworkError::Prefix(most)),
        }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> IpNetwork {
        text.parse().expect(text)
    }

    #[test]
    fn addresses_are_in_their_network() {
        for (of, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::", "10.0.0.1"),
            ("::1/128", "::1", "::2"),
        ] {
            let contains = |addr: &str| network(of).contains(addr.parse().expect(addr));
            assert!(contains(inside), "{inside} in {of}");
            assert!(!contains(outside), "{outside} not in {of}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, error) in [
            ("", "not an IP address before the prefix length"),
            ("localhost", "not an IP address before the prefix length"),
            ("10.0.0/8", "not an IP address before the prefix length"),
            (
                "10.0.0.0/",
                "the prefix length is not a number from 0 to 32",
            ),
            (
                "10.0.0.0/33",
                "the prefix length is not a number from 0 to 32",
            ),
            (
                "10.0.0.0/+8",
                "the prefix length is not a number from 0 to 32",
            ),
            ("::/129", "the prefix length is not a number from 0 to 128"),
            ("::/999", "the prefix length is not a number from 0 to 128"),
            (
                "10.0.0.1/8",
                "bits are set after the prefix: the network is 10.0.0.0/8",
            ),
        ] {
            let found = text.parse::<IpNetwork>().expect_err(text);
            assert_eq!(found.to_string(), error, "{text}");
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::1/128"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("192.0.2.7").to_string(), "192.0.2.7/32");
        let loopback = IpNetwork::LOOPBACK.map(|network| network.to_string());
        assert_eq!(loopback.map(|text| network(&text)), IpNetwork::LOOPBACK);
    }
}
