//! HTTP/3: what it changes, limits.
//!
//! # Nothing to do
//!
//! With the feature `http3`, each address of [`Server::bind_tls`](crate::Server::bind_tls) speaks HTTP/3 (RFC 9114) over
//! UDP on the same port, for the same handler, with the same certificates. Responses over TCP say so by `Alt-Svc` (RFC
//! 7838), and browsers use it from the next connection on:
//!
//! ```text
//! Alt-Svc: h3=":443"; ma=86400
//! ```
//!
//! A firewall has to let UDP through on that port. If it does not, clients stay with HTTP/2. The socket for UDP is bound by
//! this process, also where the listener for TCP is inherited (socket activation). A service that may not bind port 443
//! needs the right to do so, or [`Http3::Off`](crate::config::Http3::Off).
//!
//! [`Config::http3`](crate::Config::http3) sets it for all addresses, and [`Server::http3`](crate::Server::http3) for
//! one:
//!
//! ```no_run
//! use peregrine::config::Http3;
//! use peregrine::{Server, Tls};
//!
//! # fn main() -> std::io::Result<()> {
//! let tls = Tls::from_pem_files("cert.pem", "key.pem")?;
//! Server::from_fn(|req, res| res.text(req.version().to_string()))
//!     .bind_tls("0.0.0.0:443", tls.clone()) // HTTP/1.1, HTTP/2 and HTTP/3
//!     .bind_tls("0.0.0.0:8443", tls)
//!     .http3(Http3::Off)
//!     .run()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a handler sees
//!
//! [`Request::version`](crate::Request::version) is `HTTP/3.0`, and [`Request::is_secure`](crate::Request::is_secure) is
//! true. Everything that a handler may do works for each stream, as [with HTTP/2](super::http2): deferred and streamed
//! responses, events, offloaded requests, files, plans of bodies, sinks, trailers. The differences:
//!
//! | | HTTP/2 | HTTP/3 |
//! |---|---|---|
//! | a malformed request | RST_STREAM | RESET_STREAM with H3_MESSAGE_ERROR; it counts in [`Counters::refused`](crate::metrics::Counters::refused) and has a line with 400 in the access log, too |
//! | a response that cannot be completed | RST_STREAM | RESET_STREAM with H3_INTERNAL_ERROR |
//! | a sink that pauses | a window of the stream is not given back | the stream is not read |
//! | the end of a connection | GOAWAY, close | GOAWAY, and close a second after the client has acknowledged everything |
//! | a client that takes no bytes of one response | the stream is reset | the same |
//! | WebSockets | no | no |
//!
//! A client may change its address in the middle of a connection, for example from Wi-Fi to a mobile network (RFC 9000
//! section 9). [`Request::peer_addr`](crate::Request::peer_addr) stays that of the handshake.
//!
//! A handshake that is under way when the server stops, or hands over to a new process, may be completed within
//! [`Limits::stop_grace`](crate::Limits::stop_grace). Then the connection gets GOAWAY, and requests that it begins within that
//! time after it get their responses.
//!
//! The response that is most urgent is sent first (RFC 9218). Early data (0-RTT) is not accepted: it could be replayed.
//!
//! # Limits
//!
//! [`Http3Limits`](crate::config::Http3Limits) has what HTTP/3 adds, and [`QuicLimits`](crate::config::QuicLimits) what QUIC
//! adds below it. The most important one is a bucket for all that a client makes the server do for nothing, such as streams
//! that it resets. A client that uses it up loses its connection with H3_EXCESSIVE_LOAD.
//! [`Counters::http3_closes_load`](crate::metrics::Counters::http3_closes_load) counts these connections.
//!
//! ```
//! use peregrine::Config;
//!
//! let mut config = Config::default();
//! config.http3_limits.streams = 250;
//! config.quic.stream_window = 256 << 10; // faster uploads over long distances
//! ```
//!
//! Client addresses, time limits and memory limits apply as with HTTP/1. [`Limits::write_timeout`](crate::Limits::write_timeout)
//! and [`Limits::write_rate`](crate::Limits::write_rate) apply to each stream: one whose client takes nothing is reset, and
//! the connection goes on. A client of which nothing is heard at all loses its connection after
//! [`QuicLimits::idle_timeout`](crate::config::QuicLimits::idle_timeout).
