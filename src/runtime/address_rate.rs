//! Limits on how often one address may do something.

use super::address_limit::AddressGroup;
use crate::config::network::IpNetwork;
use crate::config::{AddressRate, Config};
use crate::shared::rate_table::RateTable;
use std::net::SocketAddr;
use std::time::Duration;

/// Shared by all threads of a server.
#[derive(Debug)]
pub(crate) struct AddressRates {
    table: RateTable,
    /// Networks that are not counted.
    exempt: Vec<IpNetwork>,
}

impl AddressRates {
    /// `None`: there is no limit.
    pub(crate) fn of(rate: Option<AddressRate>, config: &Config) -> Option<AddressRates> {
        rate.map(|AddressRate { count, per }| AddressRates {
            table: RateTable::new(count, per),
            exempt: config.trusted_proxies.clone(),
        })
    }

    /// Whether this client may do it once more; if not, how long it has to wait.
    pub(crate) fn take(&self, client: Option<SocketAddr>) -> Result<(), Duration> {
        match AddressGroup::counted(client, &self.exempt) {
            Some(group) => self.table.take(group, true),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_networks_have_a_rate_and_proxies_have_none() {
        let rate = AddressRate::new(2, Duration::from_secs(3600));
        let rates = AddressRates::of(Some(rate), &Config::default()).expect("a limit");
        let takes = |addr: &str| {
            let addr = SocketAddr::new(addr.parse().expect(addr), 1);
            rates.take(Some(addr)).is_ok()
        };
        for (one, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8:1:1::1", "2001:db8:1:1:ffff::", "2001:db8:1:2::1"),
        ] {
            assert!(takes(one) && takes(same) && !takes(one) && !takes(same));
            assert!(takes(other));
        }
        assert!((0..9).all(|_| takes("127.0.0.1") && takes("::1") && rates.take(None).is_ok()));
    }
}
