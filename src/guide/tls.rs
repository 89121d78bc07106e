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
//! Use an elliptic key. A handshake with an RSA key of 2,048 bits takes five times as long, and other clients of the worker
//! wait meanwhile.
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
//! [`Counters::handshakes_failed`](crate::metrics::Counters::handshakes_failed) show it. An idle connection takes 3.5 KiB.
