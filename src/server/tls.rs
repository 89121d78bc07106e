//! `Server::bind_tls`: addresses with TLS.

use super::{Server, place};
#[cfg(feature = "http3")]
use crate::config::Http3;
use crate::runtime::listener::BindAddr;
use crate::runtime::tls::Tls;
use std::fmt::Debug;
use std::net::{TcpListener, ToSocketAddrs};

/// Methods for TLS.
impl<H, M> Server<H, M> {
    /// Listens on a TCP address as [`Server::bind`] does, for connections over TLS 1.3.
    ///
    /// A server may have addresses with and without TLS. [`Request::is_secure`](crate::Request::is_secure) tells them
    /// apart. HTTP and WebSockets (`wss`) work as they do without TLS. [`Config::tls_handshake_timeout`] limits the
    /// handshake of a connection; a client may send 16 KiB in it, or 64 KiB if clients have certificates.
    ///
    /// [`Config::tls_handshake_timeout`]: crate::Config::tls_handshake_timeout
    ///
    /// ```no_run
    /// use peregrine::{Server, Tls};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// Server::from_fn(|_req, res| res.text("Hello, World!"))
    ///     .bind_tls("0.0.0.0:443", Tls::from_pem_files("cert.pem", "key.pem")?)
    ///     .run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_tls(mut self, addr: impl ToSocketAddrs + Debug, tls: Tls) -> Server<H, M> {
        self.places.push_tls(place(addr), tls);
        self
    }

    /// Listens on a TCP socket that another program has bound, as [`Server::listener`] does, for connections over
    /// TLS 1.3.
    pub fn listener_tls(mut self, listener: TcpListener, tls: Tls) -> Server<H, M> {
        let listeners = vec![listener];
        self.places.push_tls(BindAddr::Inherited(listeners), tls);
        self
    }

    /// Sets whether the address of the last [`Server::bind_tls`] speaks HTTP/3, over UDP on the same port.
    /// [`Config::http3`](crate::Config::http3) has the setting of the others. Before the first address it does nothing, and for
    /// addresses without TLS and those of [`Server::proxy_protocol`] there is no HTTP/3.
    ///
    /// Needs the feature `http3`.
    ///
    /// ```
    /// # #[cfg(feature = "tls-self-signed")] {
    /// use peregrine::config::Http3;
    /// use peregrine::{Server, Tls};
    ///
    /// let tls = Tls::self_signed(&["localhost"])?;
    /// let server = Server::from_fn(|req, res| res.text(req.version().to_string()))
    ///     .bind_tls("127.0.0.1:0", tls)
    ///     .http3(Http3::Only)
    ///     .start()?;
    /// # drop(server);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "http3")]
    pub fn http3(mut self, mode: Http3) -> Server<H, M> {
        if let Some(last) = self.places.addrs.len().checked_sub(1) {
            self.places.http3.push((last, mode));
        }
        self
    }

    /// Listens on a TCP address as [`Server::bind`] does, and redirects each request to the same resource with `https`:
    /// 308 (RFC 9110 section 15.4.9), which keeps the method.
    ///
    /// The new location has the host that the client has asked for, and the port of the first address of
    /// [`Server::bind_tls`]. A request without a host gets 400. [`Config::allowed_hosts`] applies. The connection is
    /// closed after the response. No handler is called.
    ///
    /// A request without TLS to an address of `bind_tls` is redirected, too. Without this method it gets 400.
    ///
    /// [`Config::allowed_hosts`]: crate::Config::allowed_hosts
    ///
    /// # Errors
    ///
    /// [`Server::start`] reports an error if there is no `bind_tls`.
    ///
    /// ```no_run
    /// use peregrine::{Server, Tls};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// Server::from_fn(|_req, res| res.text("Hello, World!"))
    ///     .bind_tls("0.0.0.0:443", Tls::from_pem_files("cert.pem", "key.pem")?)
    ///     .redirect_to_https("0.0.0.0:80")
    ///     .run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn redirect_to_https(mut self, addr: impl ToSocketAddrs + Debug) -> Server<H, M> {
        self.places.redirecting.push(self.places.addrs.len());
        self.places.addrs.push(place(addr));
        self
    }
}
