//! `Server::proxy_protocol`: addresses whose connections begin with a PROXY header.

use super::Server;
use crate::config::Config;
use crate::config::forwarded::ProxySources;
use crate::runtime::transport::ListenerConfig;
use std::io;

impl<H, M> Server<H, M> {
    /// Expects a header of the PROXY protocol, version 1 or 2, at the beginning of each connection to the address of the
    /// call before this one: [`Server::bind`], `bind_tls`, `bind_unix`, [`Server::listener`] and so on.
    ///
    /// A load balancer in TCP mode sends the header, which has the address of its client. HAProxy does so with
    /// `send-proxy` or `send-proxy-v2`. Then [`Request::client_addr`], the access log and
    /// [`Config::connections_per_address`] have the address of the client, and [`Request::proxy_header`] has the rest.
    /// [`Request::peer_addr`] remains the address of the balancer.
    ///
    /// The header is never guessed. A connection to this address is closed without a response if
    ///
    /// - its address is not in [`Config::trusted_proxies`] (over a Unix socket each connection is trusted),
    /// - it does not begin with a valid header of at most 4,096 bytes,
    /// - its header is not complete within [`Config::proxy_header_timeout`].
    ///
    /// [`Counters::proxy_refused`](crate::metrics::Counters::proxy_refused) counts them. TLS begins behind the header. A
    /// header without an address (`LOCAL`, `UNKNOWN`), as health checks send it, leaves the address of the socket.
    ///
    /// A balancer that sends requests of several clients over one connection must not use this protocol; it has
    /// [`Config::forwarded`].
    ///
    /// # Errors
    ///
    /// [`Server::start`] reports an error if no address comes before this call.
    ///
    /// ```no_run
    /// use peregrine::{Config, Server};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::default().trusted_proxies(["10.1.0.0/16".parse()?]);
    /// Server::from_fn(|req, res| res.text(format!("{:?}", req.client_addr())))
    ///     .config(config)
    ///     .bind("0.0.0.0:8080").proxy_protocol() // for the balancer
    ///     .bind("127.0.0.1:8081") // for programs of this machine, without the header
    ///     .run()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Request::client_addr`]: crate::Request::client_addr
    /// [`Request::peer_addr`]: crate::Request::peer_addr
    /// [`Request::proxy_header`]: crate::Request::proxy_header
    /// [`Config::connections_per_address`]: crate::Config::connections_per_address
    /// [`Config::forwarded`]: crate::Config::forwarded
    /// [`Config::proxy_header_timeout`]: crate::Config::proxy_header_timeout
    /// [`Config::trusted_proxies`]: crate::Config::trusted_proxies
    #[doc(alias("haproxy", "send-proxy"))]
    pub fn proxy_protocol(mut self) -> Server<H, M> {
        self.places.proxied.push(self.places.addrs.len());
        self
    }
}

/// Tells the listeners of these places, counted from 1, that connections begin with a PROXY header.
pub(super) fn expect_headers(
    configs: &mut [ListenerConfig],
    places: &[usize],
    config: &Config,
) -> io::Result<()> {
    for place in places {
        let listener = place
            .checked_sub(1)
            .and_then(|place| configs.get_mut(place));
        let text = "Server::proxy_protocol comes behind the address that it is for";
        let error = || io::Error::new(io::ErrorKind::InvalidInput, text);
        listener.ok_or_else(error)?.proxied = Some(ProxySources::of(config));
    }
    Ok(())
}
