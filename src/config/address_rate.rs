//! How often one address may do something.

use std::time::Duration;

/// How often one address may do something: [`Config::connection_rate`](crate::Config::connection_rate),
/// [`Config::request_rate`](crate::Config::request_rate).
///
/// It may do it `count` times at once. Then it gets this back evenly, in the course of `per` (GCRA).
///
/// ```
/// use peregrine::config::AddressRate;
/// use peregrine::Config;
/// use std::time::Duration;
///
/// let config = Config::default()
///     .connection_rate(AddressRate::per_second(100))
///     .request_rate(AddressRate::new(600, Duration::from_secs(60))); // 10 a second, 600 at once
/// # assert!(config.request_rate.is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressRate {
    /// How often in this time. 0: never.
    pub count: u32,
    /// The time.
    pub per: Duration,
}

impl AddressRate {
    /// So many times in this time.
    pub const fn new(count: u32, per: Duration) -> AddressRate {
        AddressRate { count, per }
    }

    /// So many times in a second.
    pub const fn per_second(count: u32) -> AddressRate {
        AddressRate::new(count, Duration::from_secs(1))
    }
}
