//! Limits: what a client can cost.
//!
//! Each buffer, queue, loop and wait has a limit that is on by default. [`Config`](crate::Config#limits)
//! has the table of all limits: the default, what the client sees, and the test that shows it. A limit is
//! a number. Zero is the tightest, and the largest number (`usize::MAX`, `Duration::MAX`) is no limit.
//!
//! | struct | scope |
//! |---|---|
//! | [`Config`](crate::Config) | the server: connections, memory in buffers, the thread pool |
//! | [`Limits`](crate::Limits) | one connection: sizes and times of requests and responses |
//! | `WsLimits` | one WebSocket |
//! | `DirConfig` | one `DirServer` |
//! | [`HistoryLimits`](crate::history::HistoryLimits), [`MemoryLogLimits`](crate::history::MemoryLogLimits) | one `History` and its log |
//! | [`PresenceLimits`](crate::presence::PresenceLimits) | one `Presence` |
//! | `MultipartLimits` | one form |
//!
//! ```
//! use peregrine::{Config, Limits, Server};
//! use std::time::Duration;
//!
//! # fn main() -> std::io::Result<()> {
//! let limits = Limits::default().idle_timeout(Duration::from_secs(20)); // then idle connections are closed
//! let config = Config::default().connections(10_000).limits(limits);
//! let server = Server::from_fn(|_, res| res.text("hi"))
//!     .config(config)
//!     .max_body(10 << 20); // short for `Limits::body_bytes`: bodies of up to 10 MiB
//! # drop(server.bind("127.0.0.1:0").start()?);
//! # Ok(())
//! # }
//! ```
//!
//! One route can have another limit for bodies: [`Handler::body_plan`](crate::Handler::body_plan) returns
//! [`BodyPlan::BufferUpTo`](crate::BodyPlan::BufferUpTo).
//!
//! # Times
//!
//! Times are checked once a second. A wait may end up to two seconds late, never early. A client that
//! sends or takes slowly is measured by a rate ([`Limits::body_rate`](crate::Limits::body_rate),
//! [`Limits::write_rate`](crate::Limits::write_rate)), so a few bytes now and then do not keep a
//! connection open.
//!
//! # Memory
//!
//! [`Config::buffered_bytes`](crate::Config::buffered_bytes) (512 MiB) limits the buffers of all
//! connections together. Near this limit, connections that hold memory and make no progress are closed.
//! At this limit, new requests get 503. What handlers allocate is not counted.
//!
//! # Connections
//!
//! [`Config::connections`](crate::Config::connections) (65,536) limits the connections of the process. At this limit the
//! connections that have been idle longest are closed.
//! [`Config::connections_per_address`](crate::Config::connections_per_address) limits those of one address, and
//! [`Config::connection_rate`](crate::Config::connection_rate) how fast it opens new ones. A connection above the first limit
//! gets 503 with `Retry-After` if its request has already arrived when it is accepted; otherwise it is closed without a
//! response, and `curl` says `Empty reply from server`. A warning in the log (features `log` and `tracing`) names the address
//! and the limit. The loopback is not counted, because a proxy may be there; add other proxies to
//! [`Config::trusted_proxies`](crate::Config::trusted_proxies). The system limits the descriptors of the process (`ulimit -n`):
//! [`Config::raise_descriptors`](crate::Config::raise_descriptors) raises the soft limit.
//!
//! # Rates
//!
//! | rate | of | default | above it |
//! |---|---|---|---|
//! | [`Config::connection_rate`](crate::Config::connection_rate) | new connections of an address | 10,000 a second | closed at once |
//! | [`Config::request_rate`](crate::Config::request_rate) | requests of an address, over all connections | none | 429, `Retry-After` |
//! | [`layers::RateLimit`](crate::layers::RateLimit) | requests to some routes, by address or by a key | - | 429, `Retry-After` |
//!
//! An address is an IPv4 address or an IPv6 network of 64 bits, as for the other limits. NAT64 (`64:ff9b::/96`) and 6to4
//! (`2002::/16`) count as the IPv4 address in them; other prefixes of translators (`64:ff9b:1::/48`) do not, so all clients
//! behind one share its network. A client with a larger network has each limit many times: a /56, as many homes have, 256
//! times, a /48, as hosters give, 65,536 times. Behind a trusted proxy the address is that of the client. A load test from one machine can meet the first rate; `connection_rate(None)` removes it.
//!
//! ```
//! use peregrine::config::AddressRate;
//! use peregrine::{Config, Server};
//! use std::time::Duration;
//!
//! # fn main() -> std::io::Result<()> {
//! let config = Config::default()
//!     .connection_rate(AddressRate::per_second(100)) // for TLS: a handshake takes 0.1 to 1 ms of a CPU
//!     .request_rate(AddressRate::new(3000, Duration::from_secs(60))); // 50 a second, 3,000 at once
//! # let server = Server::from_fn(|_, res| res.text("hi")).config(config);
//! # drop(server.bind("127.0.0.1:0").start()?);
//! # Ok(())
//! # }
//! ```
