//! Where a request comes from: addresses, scheme and host, as the client has seen them.

use super::{Request, text};
use crate::config::ForwardedFields;
#[cfg(feature = "tls")]
use crate::runtime::tls::TlsInfo;
use peregrine_protocol::h1::head::Known;
use peregrine_protocol::http::forwarded;
use peregrine_protocol::http::forwarded::Hop;
use peregrine_protocol::proxy_header::ProxyHeader;
use std::net::SocketAddr;

/// To whom a response goes, as far as a cache has to know it.
pub(crate) struct ServedTo<'a> {
    /// Empty if there is none.
    pub(crate) host: &'a [u8],
    pub(crate) is_https: bool,
    /// Of the client, on this connection or on that to a load balancer before it.
    pub(crate) has_certificate: bool,
}

impl<'a> Request<'a> {
    /// The host of the request, with its port if one was sent. It is the authority of the target if that has
    /// one, otherwise the `Host` field (RFC 9112 section 3.3). `None` in an HTTP/1.0 request without either.
    ///
    /// Behind a proxy it is what the client has sent to the proxy, if the settings of the server say which field tells
    /// it ([`Config::forwarded`](crate::Config::forwarded)) and the proxy tells it.
    pub fn host(&self) -> Option<&'a str> {
        self.host_bytes().map(text)
    }

    pub(crate) fn host_bytes(&self) -> Option<&'a [u8]> {
        let told = self.told_host().map(str::as_bytes);
        told.or_else(|| self.own_host())
    }

    /// The host that a proxy tells.
    #[inline]
    fn told_host(&self) -> Option<&'a str> {
        self.ends.via().and_then(|_| self.origin().host)
    }

    #[inline]
    fn own_host(&self) -> Option<&'a [u8]> {
        let target = self.head.target.authority;
        let host = target.or_else(|| self.head.known(Known::Host))?;
        Some(host.of(self.bytes))
    }

    /// What a cache has to know of the connection.
    #[inline]
    pub(crate) fn served_to(&self) -> ServedTo<'a> {
        if self.ends.via().is_some() {
            return self.served_via();
        }
        #[cfg(feature = "tls")]
        let is_https = self.is_secure();
        #[cfg(not(feature = "tls"))]
        let is_https = false;
        ServedTo {
            host: self.own_host().unwrap_or_default(),
            is_https,
            has_certificate: is_https && self.has_client_chain(),
        }
    }

    #[cold]
    fn served_via(&self) -> ServedTo<'a> {
        let ssl = self.proxy_header().and_then(ProxyHeader::ssl);
        let is_told = ssl.is_some_and(|ssl| ssl.is_verified || ssl.common_name.is_some());
        ServedTo {
            host: self.host_bytes().unwrap_or_default(),
            is_https: self.scheme() == "https",
            has_certificate: is_told || self.has_client_chain(),
        }
    }

    #[cold]
    fn has_client_chain(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls().is_some_and(|tls| tls.client_chain().len() > 0);
        #[cfg(not(feature = "tls"))]
        false
    }

    /// The scheme with which the client has sent the request: `https` or `http`.
    ///
    /// Behind a proxy it is what the client has used for the proxy, if the settings of the server say which field tells
    /// it ([`Config::forwarded`](crate::Config::forwarded)) and the proxy tells it, or if a
    /// [`Request::proxy_header`] tells it. Otherwise it says whether the connection to this server has TLS.
    pub fn scheme(&self) -> &'static str {
        let told = self.ends.via().and_then(|_| self.origin().scheme);
        #[cfg(feature = "tls")]
        let own = if self.is_secure() { "https" } else { "http" };
        #[cfg(not(feature = "tls"))]
        let own = "http";
        let ssl = self.proxy_header().and_then(ProxyHeader::ssl);
        let of_balancer = ssl.filter(|ssl| ssl.is_secure).map(|_| "https");
        told.or(of_balancer).unwrap_or(own)
    }

    /// The address of the client. Without a proxy it is [`Request::peer_addr`]. Behind a load balancer that sends a
    /// [`Request::proxy_header`] it is the address in that.
    ///
    /// Behind proxies that forward requests it is the last address that is told by a proxy of
    /// [`Config::trusted_proxies`](crate::Config::trusted_proxies) and belongs to none of them, in the field of
    /// [`Config::forwarded`](crate::Config::forwarded). The port is 0 if the proxy does not tell it. If a proxy does
    /// not tell an address, this is the address of that proxy. So a client cannot choose the result.
    ///
    /// ```
    /// use peregrine::config::ForwardedFields;
    /// use peregrine::{Config, Server};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let config = Config::default().forwarded(ForwardedFields::Forwarded); // from the loopback
    /// let server = Server::from_fn(|req, res| {
    ///     let client = req.client_addr().map_or("unknown".into(), |addr| addr.ip().to_string());
    ///     res.text(format!("{client} has asked for {}://{}", req.scheme(), req.host().unwrap_or("")))
    /// });
    /// let server = server.config(config).bind("127.0.0.1:0").start()?;
    /// # use std::io::{Read, Write};
    /// # let mut client = std::net::TcpStream::connect(server.local_addr().expect("an address"))?;
    /// # client.write_all(b"GET / HTTP/1.1\r\nHost: inner\r\nConnection: close\r\n\
    /// #     Forwarded: for=192.0.2.1;proto=https;host=a.example\r\n\r\n")?;
    /// # let mut response = String::new();
    /// # client.read_to_string(&mut response)?;
    /// # assert!(response.ends_with("192.0.2.1 has asked for https://a.example"), "{response}");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("remote_addr", "ip", "real_ip"))]
    pub fn client_addr(&self) -> Option<SocketAddr> {
        match self.ends.via() {
            Some(_) => self.origin().client,
            None => self.ends.client_addr(),
        }
    }

    /// What the load balancer has said at the beginning of the connection, to an address of
    /// [`Server::proxy_protocol`](crate::Server::proxy_protocol). `None` on other addresses.
    pub fn proxy_header(&self) -> Option<&'a ProxyHeader> {
        self.ends.via()?.proxied.as_ref()
    }

    /// The address of the other end of the connection: of the client, or of the proxy before this server; `None` on a
    /// Unix socket. A client that connects over IPv4 has an IPv4 address, even if the listener is `[::]`.
    /// [`Request::client_addr`] is the address of the client in both cases.
    #[doc(alias("remote_addr", "ip"))]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.ends.peer_addr()
    }

    /// The address of the server to which the client connected; `None` on a Unix socket. Each call asks the
    /// system.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.ends.local_addr()
    }

    /// Whether the request has come over TLS, on an address of [`Server::bind_tls`](crate::Server::bind_tls). A
    /// proxy in front of the server that decrypts does not count; [`Request::scheme`] tells what the client has used.
    #[cfg(feature = "tls")]
    pub fn is_secure(&self) -> bool {
        self.ends.is_secure()
    }

    /// What the TLS handshake has found out: the certificates of the client, for example. `None` without TLS. Each
    /// call makes a copy.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<TlsInfo> {
        self.ends.tls()
    }

    /// What the proxies tell: their fields are read from the last element to the first, as long as the address that
    /// was told last belongs to a trusted proxy.
    fn origin(&self) -> Hop<'a> {
        let mut origin = Hop {
            client: self.ends.client_addr(),
            ..Hop::default()
        };
        let Some(via) = self.ends.via() else {
            return origin;
        };
        // A balancer that does not tell its client adds no field either: all of them are of that client.
        let is_untold = via
            .proxied
            .as_ref()
            .is_some_and(|header| header.addrs.is_none());
        let Some(forwarding) = via.forwarding.as_ref().filter(|_| !is_untold) else {
            return origin;
        };
        if !forwarding.proxies.are_trusted(origin.client) {
            return origin;
        }
        let mut follow = |hop: Hop<'a>| {
            origin.scheme = hop.scheme;
            origin.host = hop.host;
            origin.client = hop.client.or(origin.client);
            hop.client.is_some() && forwarding.proxies.are_trusted(hop.client)
        };
        match forwarding.fields {
            ForwardedFields::None => {}
            ForwardedFields::Forwarded => {
                let mut hops = self.last_first("forwarded").flat_map(forwarded::forwarded);
                while hops.next().is_some_and(&mut follow) {}
            }
            ForwardedFields::X { proto, host } => {
                let fields = self.last_first("x-forwarded-for");
                let mut hops = fields.flat_map(forwarded::x_forwarded_for);
                while hops.next().is_some_and(&mut follow) {}
                let last = |name, is_read: bool| {
                    let mut fields = self.last_first(name).filter(|_| is_read);
                    fields.find_map(forwarded::last)
                };
                origin.scheme = last("x-forwarded-proto", proto).and_then(forwarded::scheme);
                origin.host = last("x-forwarded-host", host).and_then(forwarded::host);
            }
        }
        origin
    }

    /// The values of all header fields `name`, the last one first.
    fn last_first(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let request = *self;
        let fields = self.fields().iter().rev();
        let fields = fields.filter(move |field| request.is_named(field, name));
        fields.map(move |field| field.value.of(request.bytes))
    }
}
