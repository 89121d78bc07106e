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
    /// The number of times that an address may do it within `per`. 0: never, and `Retry-After` means nothing.
    pub count: u32,
    /// The time in which an address gets all of `count` back. A server with 0 does not start. With less than a nanosecond for
    /// each of `count` there is no limit.
    pub per: Duration,
}

impl AddressRate {
    /// An address may do it `count` times within `per`.
    pub const fn new(count: u32, per: Duration) -> AddressRate {
        AddressRate { count, per }
    }

    /// An address may do it `count` times within a second.
    pub const fn per_second(count: u32) -> AddressRate {
        AddressRate::new(count, Duration::from_secs(1))
    }
}
