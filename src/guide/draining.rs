//! Stop and drain: health checks, and a stop that loses no request.
//!
//! A load balancer learns by its checks that a server is about to stop, and that takes some seconds. A server that closes its
//! listeners before refuses clients that the balancer still sends. So a stop has two steps: the server says that it is not
//! ready and goes on (*drain*), and then it stops.
//!
//! ```no_run
//! use peregrine::server::Health;
//! use peregrine::{Config, Router, Server};
//! use std::time::Duration;
//!
//! # #[cfg(feature = "signals")]
//! fn main() -> std::io::Result<()> {
//!     let health = Health::new();
//!     let app = Router::new()
//!         .get("/", |_, res| res.text("Hello, World!"))
//!         .mount("/health", health.clone()); // /health/livez, /health/readyz
//!     let config = Config::default()
//!         .drain_delay(Duration::from_secs(15)) // longer than the balancer takes to notice
//!         .stop_timeout(Duration::from_secs(10));
//!     let server = Server::new(app).config(config).health(&health);
//!     server.bind("0.0.0.0:8080").stop_on_signals().run()?;
//!     Ok(())
//! }
//! # #[cfg(not(feature = "signals"))]
//! # fn main() {}
//! ```
//!
//! # What happens
//!
//! | step | begins with | new connections | responses | WebSockets, streams of events | `/readyz` |
//! |---|---|---|---|---|---|
//! | serve | the start | accepted | kept alive | open | 200 |
//! | drain | SIGTERM, [`Stopper::drain`](crate::server::Stopper::drain) | accepted | more and more end their connection | open, and new ones are accepted | 503 |
//! | stop | the end of [`Config::drain_delay`](crate::Config::drain_delay), a second signal, SIGINT, [`Stopper::stop`](crate::server::Stopper::stop) | those in the backlog, then none | the last one of each connection | closed and ended, one after the other | 503 |
//! | abort | a further signal, [`Stopper::stop_now`](crate::server::Stopper::stop_now) | none | aborted | aborted | |
//!
//! `/livez` is 200 in all of them. A stop ends when all connections have ended; those that are open after
//! [`Config::stop_timeout`](crate::Config::stop_timeout) are aborted.
//!
//! Without a `drain_delay`, which is the default, SIGTERM begins the stop. SIGINT (Ctrl-C) always does. A second SIGTERM ends the
//! drain. So let nothing send two: `ExecStop=/bin/kill -TERM $MAINPID` of systemd does, because systemd sends one after it.
//!
//! # Times to choose
//!
//! | setting | choose | default |
//! |---|---|---|
//! | `Config::drain_delay` | period of the checks, times the failures until a server is out, and 1 to 5 s more | 0 |
//! | `Config::ws_close_spread` | 1 s for each 1,000 WebSockets that the other servers can take in a second | 0 |
//! | [`Config::events_close_spread`](crate::Config::events_close_spread) | the same for streams of events | 0 |
//! | [`Config::events_retry`](crate::Config::events_retry) | that time, if the stop is not to last longer for them | none |
//! | `Config::stop_timeout` | as long as a request may take | 10 s |
//! | [`Limits::stop_grace`](crate::Limits::stop_grace) | a round trip | 1 s |
//! | the patience of the service manager | the sum of these, and 5 s more | Kubernetes 30 s, systemd 90 s |
//!
//! # When connections are told
//!
//! During a drain each connection has a moment, chosen at random. From then on its next response says `Connection: close`; an
//! HTTP/2 connection gets GOAWAY, and streams that are open go on. At the beginning nearly all connections are kept, because
//! the balancer would only lead their clients back to this server. At the end nearly all have moved. A connection of HTTP/1
//! without a request is not closed during the drain: its client may be sending one. During the stop it may send one more within
//! `Limits::stop_grace`. A connection of HTTP/2 that has got GOAWAY is closed when it has no open streams: its client knows
//! which requests it has to send again. Moments come in steps of a second, so a delay of 1 s tells no connection.
//!
//! Streams of events go on during the drain, because the balancer would lead their clients back to this server. They are ended
//! during the stop, evenly over [`Config::events_close_spread`](crate::Config::events_close_spread). Browsers connect again 3 to
//! 5 s after the end of theirs, or after the `retry` that the program has sent. A connection of HTTP/2 gets GOAWAY at the
//! beginning of the stop, so its page makes other requests elsewhere.
//!
//! With [`Config::events_retry`](crate::Config::events_retry) the last field of such a stream is a `retry`, between this time and
//! twice as much, chosen at random. So clients come back one after the other even if their streams end together, and the stop
//! does not last longer. A page keeps that value until a server sends another one: send the usual one in the first event of a
//! stream.
//!
//! WebSockets are closed during the stop, evenly over `Config::ws_close_spread`, so that not all clients come back in the
//! same moment. The code is `Config::ws_close_code`: 1001 (going away) or 1012 (service restart). Until then they send and receive,
//! but [`Timers`](crate::timers::Timers) end with the workers, as soon as the other connections have ended: messages that come
//! from a timer come no more. Jobs of the pool that still run are waited for until `Config::stop_timeout` only.
//!
//! # Checks
//!
//! [`Health::check`](crate::server::Health::check) adds a condition that is looked at for each request, on the worker: it must
//! not block. [`Health::check_every`](crate::server::Health::check_every) has a thread of its own, for a query to a database:
//!
//! ```
//! use peregrine::server::Health;
//! use std::net::{SocketAddr, TcpStream};
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::time::Duration;
//!
//! # fn main() -> std::io::Result<()> {
//! let is_loaded = Arc::new(AtomicBool::new(false)); // the program sets it
//! let loaded = is_loaded.clone();
//! // `check` takes the `Health` and returns it; `check_every` borrows it.
//! let health = Health::new().check("data", move || match loaded.load(Ordering::Relaxed) {
//!     true => Ok(()),
//!     false => Err("not loaded yet"),
//! });
//! let database = SocketAddr::from(([127, 0, 0, 1], 5432));
//! health.check_every("database", Duration::from_secs(5), move || {
//!     TcpStream::connect_timeout(&database, Duration::from_secs(1)).map(drop)
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! The `Health` of the router, that of [`Server::health`](crate::Server::health) and all other clones share their checks. Let
//! `/readyz` fail only for what another server could do better: if a database that all servers share is down, a balancer has
//! nothing left to send clients to. `/livez` depends on no check, because a restart repairs none of them.
//!
//! | response | meaning |
//! |---|---|
//! | 200 `{"status":"ready"}` | send clients |
//! | 503 `{"status":"starting"}` | no server has started with this `Health` |
//! | 503 `{"status":"draining"}` | it stops soon |
//! | 503 `{"status":"failing","checks":{"name":"why"}}` | a check fails |
//! | 421 | the probe sends a host that is not in [`Config::allowed_hosts`](crate::Config::allowed_hosts) |
//! | 429 | the address of the probe is over [`Config::request_rate`](crate::Config::request_rate) |
//! | no response, or 503 without this body | the address of the probe has too many connections, or memory is short |
//!
//! A probe passes the limits that users pass. If clients share its address, as behind a node that translates addresses, one of
//! them can use up the limits, and the orchestrator would restart a healthy program. So let probes ask a second server on a
//! port of their own, as the guide for [Kubernetes](crate::guide::kubernetes#probes) and
//! [An address for operators](crate::guide::operation#an-address-for-operators) do. There the 503 of a drain is not counted as
//! an error of the program either.
//!
//! # Replacing the process
//!
//! [`hand_over`](crate::server::hand_over) (not on Windows) needs no drain: the new process accepts on the same listeners, so
//! no balancer has to notice anything. The old process says 200 on connections that it still has. WebSockets are closed over
//! `Config::ws_close_spread`, and come back to the new process. A server that drains is not replaced any more.
