//! HTTP/2: what it changes, limits, tests.
//!
//! # Nothing to do
//!
//! With the feature `http2`, the addresses of a server speak HTTP/2 (RFC 9113) beside HTTP/1.1, for the same handler:
//!
//! - With TLS the client chooses in the handshake (ALPN). Browsers use HTTP/2 only in this way.
//! - Without TLS a client may begin with the preface of HTTP/2 on the same port, as `curl --http2-prior-knowledge` does.
//!   That is for clients of one's own, and for proxies.
//! - With [`Tls::from_rustls`](crate::Tls::from_rustls), HTTP/2 is offered only if that configuration has `h2` in its ALPN
//!   protocols.
//!
//! [`Config::http2`](crate::Config::http2) sets it for all addresses, and [`Server::http2`](crate::Server::http2) for
//! one:
//!
//! ```no_run
//! use peregrine::Server;
//! use peregrine::config::Http2;
//!
//! # fn main() -> std::io::Result<()> {
//! Server::from_fn(|req, res| res.text(req.version().to_string()))
//!     .bind("0.0.0.0:8080") // both
//!     .bind("127.0.0.1:9000")
//!     .http2(Http2::Only)
//!     .run()?;
//! # Ok(())
//! # }
//! ```
//!
//! No request is served without TLS where TLS is to be used: it gets 400, or the redirect of
//! [`Server::redirect_to_https`](crate::Server::redirect_to_https), in HTTP/1.1, even if its address speaks HTTP/2 alone.
//!
//! # What a handler sees
//!
//! [`Request::version`](crate::Request::version) is `HTTP/2.0`. [`Request::host`](crate::Request::host) comes from
//! `:authority`, and pieces of `Cookie` are joined. Names of fields are in lower case. Everything that a handler may do
//! works for each stream: deferred and streamed responses, events, offloaded requests, files, plans of bodies, sinks,
//! trailers. The differences:
//!
//! | | HTTP/1.1 | HTTP/2 |
//! |---|---|---|
//! | after an error, a panic, or a body that is not read | the connection is closed | the stream is closed |
//! | a malformed request | 400 | RST_STREAM; it counts in [`Counters::refused`](crate::metrics::Counters::refused) and has a line with 400 in the access log, too |
//! | a response that cannot be completed | the connection is closed or reset | RST_STREAM; if a file is shorter than it was, the connection is closed |
//! | [`Response::close`](crate::Response::close), the end of the server | `Connection: close` | GOAWAY; requests that have come get their responses |
//! | [`Responder::is_gone`](crate::Responder::is_gone) | the connection is closed | also if the client has reset the stream |
//! | trailers of a request or response | only with chunks | always |
//! | WebSockets | yes | no: browsers open an HTTP/1.1 connection for them |
//!
//! The response that is most urgent is sent first (RFC 9218).
//!
//! # Limits
//!
//! [`Http2Limits`](crate::config::Http2Limits) has what HTTP/2 adds. The most important one is a bucket for all that a
//! client makes the server do for nothing, such as streams that it resets. Most of the known attacks on HTTP/2 are of that
//! kind. A client that uses it up gets GOAWAY with ENHANCE_YOUR_CALM.
//! [`Counters::http2_goaways_calm`](crate::metrics::Counters::http2_goaways_calm) counts these connections.
//!
//! ```
//! use peregrine::Config;
//!
//! let mut config = Config::default();
//! config.http2_limits.streams = 250;
//! ```
//!
//! Client addresses, time limits and memory limits apply as with HTTP/1. An HTTP/2 connection keeps up to 8 KiB of
//! tables while it is idle; [`Http2Limits::header_table_bytes`](crate::config::Http2Limits::header_table_bytes) lowers
//! that.
//!
//! # Tests
//!
//! [`testing::Http2`](crate::testing::Http2) is a client in memory:
//!
//! ```
//! use peregrine::testing::Http2;
//!
//! let app = peregrine::from_fn(|req, res| match req.path() {
//!     "/" => res.text("home"),
//!     _ => res.status(404).text("nothing here"),
//! });
//! let mut client = Http2::new(&app);
//! let (home, other) = (client.get("/"), client.get("/other"));
//! assert_eq!(client.response(home).body, b"home");
//! assert_eq!(client.response(other).status, 404);
//! ```
