//! Which fields of proxies are believed, and of which proxies.

use super::Config;
use super::network::IpNetwork;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Which fields of a request say where it comes from, if [`Config::trusted_proxies`] has sent it.
///
/// Choose the fields that each of your proxies writes. A proxy passes on what a client has sent in other fields, so
/// there is no choice that reads all of them.
///
/// ```
/// use peregrine::Config;
/// use peregrine::config::ForwardedFields;
///
/// // For a proxy that writes `X-Forwarded-For` and `X-Forwarded-Proto`, and passes `Host` on.
/// let fields = ForwardedFields::X { proto: true, host: false };
/// let config = Config::default().forwarded(fields);
/// # drop(config);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedFields {
    /// No field is read.
    #[default]
    None,
    /// `Forwarded` (RFC 7239): address, scheme and host.
    Forwarded,
    /// `X-Forwarded-For`: the address.
    X {
        /// `X-Forwarded-Proto` is read too: the scheme. Only if the proxy replaces what a client has sent in it.
        proto: bool,
        /// `X-Forwarded-Host` is read too: the host. Only if the proxy replaces what a client has sent in it.
        host: bool,
    },
}

/// Proxies, and the fields of theirs that are read.
#[derive(Debug)]
pub(crate) struct Forwarding {
    pub(crate) fields: ForwardedFields,
    pub(crate) proxies: Proxies,
}

/// Connections of a listener that begin with a PROXY header: of whom, and how long it may take.
#[derive(Debug)]
pub(crate) struct ProxySources {
    pub(crate) proxies: Proxies,
    pub(crate) timeout: Duration,
}

impl ProxySources {
    pub(crate) fn of(config: &Config) -> ProxySources {
        ProxySources {
            proxies: Proxies(config.trusted_proxies.clone()),
            timeout: config.proxy_header_timeout,
        }
    }
}

/// The proxies that are believed.
#[derive(Debug)]
pub(crate) struct Proxies(Vec<IpNetwork>);

impl Proxies {
    /// Whether it is the address of a proxy that is believed. A Unix socket has no address: its file says which
    /// programs may connect.
    pub(crate) fn are_trusted(&self, addr: Option<SocketAddr>) -> bool {
        addr.is_none_or(|addr| self.0.iter().any(|proxies| proxies.contains(addr.ip())))
    }
}

impl Forwarding {
    /// `None` if no field is read.
    pub(crate) fn of(config: &Config) -> Option<Arc<Forwarding>> {
        let is_on = config.forwarded != ForwardedFields::None;
        let forwarding = || Forwarding {
            fields: config.forwarded,
            proxies: Proxies(config.trusted_proxies.clone()),
        };
        is_on.then(forwarding).map(Arc::new)
    }
}
