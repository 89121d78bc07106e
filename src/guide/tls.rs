//! TLS: certificates, names, clients with certificates, redirects.
//!
//! # One line
//!
//! The feature `tls` adds [`Server::bind_tls`](crate::Server::bind_tls):
//!
//! ```no_run
//! use peregrine::{Server, Tls};
//!
//! # fn main() -> std::io::Result<()> {
//! Server::from_fn(|_req, res| res.text("Hello, World!"))
//!     .bind_tls("0.0.0.0:443", Tls::from_pem_files("cert.pem", "key.pem")?)
//!     .redirect_to_https("0.0.0.0:80")
//!     .run()?;
//! # Ok(())
//! # }
//! ```
//!
//! The server speaks TLS 1.3. HTTP and WebSockets (`wss`) work as they do without TLS. A request without TLS to this port
//! gets 400, or the redirect of [`Server::redirect_to_https`](crate::Server::redirect_to_https).
//!
//! # Certificates
//!
//! Any ACME client that writes files will do: certbot, lego, acme.sh, uacme. Give the server the full chain and the key.
//! The server sees that the files have changed when a client connects, at most 10 seconds later, and uses the new ones.
//! Open connections go on. If the files cannot be used, the old certificate stays and an event of the log says why.
//! [`Tls::reload`](crate::Tls::reload) reads the files at once.
//!
//! For the challenge `http-01`, serve `/.well-known/acme-challenge/` on port 80 with
//! [`Server::bind`](crate::Server::bind) and redirect other requests in the handler, by
//! [`Request::is_secure`](crate::Request::is_secure). The program of an ACME client can also use port 80 itself.
//!
//! If a certificate has expired or is not valid yet, the server starts and an event of the log says so.
//!
//! Use an elliptic key. A handshake with an RSA key of 2,048 bits takes five times as long, and other clients of the worker
//! wait meanwhile. With 4,096 bits it takes five times as long again. RSA keys of less than 2,048 bits are refused.
//!
//! Several certificates, by the name that the client asks for:
//!
//! ```no_run
//! use peregrine::Tls;
//!
//! # fn main() -> std::io::Result<()> {
//! let tls = Tls::from_pem_files("default.pem", "default.key")?
//!     .add_pem_files("example.com", "example.pem", "example.key")?
//!     .add_pem_files("*.example.com", "wild.pem", "wild.key")?;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(
    feature = "tls-self-signed",
    doc = r##"
# Development

The feature `tls-self-signed` adds [`Tls::self_signed`](crate::Tls::self_signed). Browsers warn of such a certificate;
`curl -k` accepts it. All examples have the option `--tls-self-signed`.

```
use peregrine::{Server, Tls};

let tls = Tls::self_signed(&["localhost", "127.0.0.1"])?;
let server = Server::from_fn(|req, res| {
    let name = req.tls().and_then(|tls| tls.server_name().map(str::to_owned));
    res.text(format!("you have asked for {name:?}"))
});
let running = server.bind_tls("127.0.0.1:0", tls).start()?;
running.stop();
# running.wait()?;
# Ok::<(), std::io::Error>(())
```
"##
)]
//! # HTTPS alone
//!
//! [`Tls::hsts`](crate::Tls::hsts) adds `Strict-Transport-Security` to the responses of a listener (RFC 6797): browsers
//! then use `https` for this host without asking port 80 first.
//!
//! ```no_run
//! use peregrine::{Server, Tls};
//! use std::time::Duration;
//!
//! # fn main() -> std::io::Result<()> {
//! let tls = Tls::from_pem_files("cert.pem", "key.pem")?.hsts(Duration::from_secs(300));
//! Server::from_fn(|_req, res| res.text("Hello, World!"))
//!     .bind_tls("0.0.0.0:443", tls)
//!     .redirect_to_https("0.0.0.0:80")
//!     .run()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Clients with certificates
//!
//! [`Tls::require_client_certificates`](crate::Tls::require_client_certificates) accepts clients only whose certificate
//! one of the given authorities has issued. [`TlsInfo::client_chain`](crate::tls::TlsInfo::client_chain) has the
//! certificate in a handler:
//!
//! ```no_run
//! use peregrine::{Server, Tls};
//!
//! # fn main() -> std::io::Result<()> {
//! let authority = std::fs::read("authority.pem")?;
//! let tls = Tls::from_pem_files("cert.pem", "key.pem")?.require_client_certificates(&authority)?;
//! Server::from_fn(|req, res| {
//!     let tls = req.tls();
//!     let own = tls.as_ref().and_then(|tls| tls.client_chain().next());
//!     res.text(format!("a certificate of {} bytes", own.map_or(0, <[u8]>::len)))
//! })
//! .bind_tls("0.0.0.0:443", tls)
//! .run()?;
//! # Ok(())
//! # }
//! ```
//!
//! All host names of a listener ask for the same certificates. So a request whose `Host` differs from the server name of
//! the handshake reaches nothing that its client could not ask for with the other name, and it does not get 421
//! (RFC 9110 section 15.5.20). A handler that grants more to some names must compare
//! [`Request::host`](crate::Request::host), not the server name. [`Config::allowed_hosts`](crate::Config::allowed_hosts)
//! refuses names that are not of the server with 421.
//!
//! In a test, [`testing::Connection::set_tls`](crate::testing::Connection::set_tls) says what the handshake has found out:
//!
//! ```
//! use peregrine::testing::Connection;
//! use peregrine::tls::TlsInfo;
//!
//! let app = peregrine::from_fn(|req, res| {
//!     let tls = req.tls().expect("TLS");
//!     res.text(format!("{} certificates", tls.client_chain().len()))
//! });
//! let mut client = Connection::new(&app);
//! let tls = TlsInfo::new(Some("example.com")).with_client_chain([&b"in DER"[..]]);
//! client.set_tls(Some(tls));
//! client.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
//! assert!(client.received().ends_with(b"1 certificates"));
//! ```
//!
//! A session is resumed only with the [`Tls`](crate::Tls) that has begun it. So a server with two of them, one with client
//! certificates and one without, does not mix them.
//!
//! # Limits
//!
//! Of a request body over TLS, [`Limits::body_rate`](crate::Limits::body_rate) counts what is decrypted. So a client that
//! sends slowly makes no progress until a record, which has up to 16 KiB, is complete. After the handshake a message
//! that is not data may have one record.
//!
//! A handshake has [`Config::tls_handshake_timeout`](crate::Config::tls_handshake_timeout) and 16 KiB, or 64 KiB with
//! client certificates. A worker makes four steps of handshakes between two looks at its other connections, so that a
//! flood of them does not stop those. Counters such as [`Counters::handshakes`](crate::metrics::Counters::handshakes) and
//! [`Counters::handshakes_failed`](crate::metrics::Counters::handshakes_failed) show it.
//! [`Handler::handle_error`](crate::Handler::handle_error) gets a
//! [`TlsHandshake`](crate::error::ConnectionError::TlsHandshake) for each client that has begun its handshake and not
//! completed it. An idle connection takes 3.5 KiB.
