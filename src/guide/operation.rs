//! Running a server: proxy and TLS, stop, restart, metrics, logs, errors.
//!
//! # TLS, HTTP/2 and proxies
//!
//! The feature `tls` adds TLS 1.3, the feature `http2` HTTP/2, and the feature `http3` HTTP/3; the guides of the same names are
//! about them. For TLS in another process, put a proxy such as nginx, Caddy or HAProxy before a server that is reached from other machines. For nginx:
//!
//! ```text
//! map $http_upgrade $connection_upgrade {    # beside `server`, in `http`
//!     default upgrade;
//!     '' close;
//! }
//! server {
//!     listen 80;
//!     location / {
//!         proxy_pass http://127.0.0.1:8080;  # or http://unix:/run/app.sock
//!         proxy_http_version 1.1;
//!         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
//!         proxy_set_header X-Forwarded-Proto $scheme;
//!         proxy_set_header Host $http_host;  # with its port: the check of WebSocket origins needs it
//!         proxy_set_header Upgrade $http_upgrade;
//!         proxy_set_header Connection $connection_upgrade;
//!         proxy_request_buffering off;       # large uploads arrive while they are sent
//!     }
//! }
//! ```
//!
//! - **The server reads the fields `X-Forwarded-*` only after
//!   [`Config::forwarded`](crate::Config::forwarded)**, and only of
//!   [`Config::trusted_proxies`](crate::Config::trusted_proxies); the guide [`proxies`](crate::guide::proxies) has both.
//!   [`Request::peer_addr`](crate::Request::peer_addr) is the address of the proxy, and `None` over a Unix socket.
//! - [`Server::bind_unix_mode`](crate::Server::bind_unix_mode) sets the mode of a Unix socket, so that
//!   the proxy's user can connect. [`Server::bind_unix`](crate::Server::bind_unix) lets only its own user
//!   connect.
//! - Set [`Config::allowed_hosts`](crate::Config::allowed_hosts) for a server on a loopback or private
//!   address that browsers can reach. Otherwise a page of another site can read its responses by DNS
//!   rebinding.
//!
//! # Stopping
//!
//! [`Server::run`](crate::Server::run) and [`Running::wait`](crate::server::Running::wait) return after a stop.
//! A [`Stopper`](crate::server::Stopper) stops it from any thread. With
//! [`Server::stop_on_signals`](crate::Server#method.stop_on_signals) SIGINT and SIGTERM do: the first signal
//! stops the server, a second one closes what is still open. Behind a load balancer a server should drain first: the guide
//! [`draining`](crate::guide::draining) has health checks and the steps of a stop, and [`systemd`](crate::guide::systemd) and
//! [`kubernetes`](crate::guide::kubernetes) are recipes. Without this call the library leaves the signals of
//! the process alone, and everything else that belongs to the whole process.
//!
//! During a stop, requests that have arrived get their responses, the last of each connection with
//! `Connection: close`. An idle connection may send one more request within
//! [`Limits::stop_grace`](crate::Limits::stop_grace) (1 s), so that no request on its way is lost. WebSockets
//! are closed with `Config::ws_close_code` (1001) over `Config::ws_close_spread` (0 s), and streams of events are ended over
//! [`Config::events_close_spread`](crate::Config::events_close_spread) (0 s).
//! What is open after [`Config::stop_timeout`](crate::Config::stop_timeout) (10 s) and this spread is closed.
//! [`Stopped`](crate::server::Stopped) reports how many connections were drained and how many were aborted.
//!
//! Programs in Rust ignore SIGPIPE. A program in another language that contains this library must ignore it, or block it on the thread
//! that starts the server, because a client that leaves could end it otherwise. The C interface (`crates/capi`) blocks it.
//!
//! # Restarting without losing a request
//!
//! On Unix a new process can take over the listeners while the old one serves. The old process stops when
//! the new one is ready. If the new process fails, the old one continues.
//!
//! ```no_run
//! # #[cfg(unix)]
//! fn main() -> std::io::Result<()> {
//!     use peregrine::Server;
//!     use peregrine::server::{Inherited, hand_over};
//!     use std::{env, process::Command, thread, time::Duration};
//!
//!     let program = env::current_exe()?; // before the file is replaced
//!     let inherited = Inherited::from_parent()?; // nothing, if no server started this process
//!     let running = Server::from_fn(|_, res| res.text("Hello, World!"))
//!         .inherit(&inherited)
//!         .bind("127.0.0.1:8080") // the listener of the old process, if it has this address
//!         .start()?;
//!     inherited.ready()?; // from here on the old process stops
//!
//!     let stopper = running.stopper();
//!     thread::spawn(move || {
//!         while restart_is_asked_for() {
//!             match hand_over(&[&stopper], &mut Command::new(&program), Duration::from_secs(30)) {
//!                 Ok(_) => return,
//!                 Err(error) => eprintln!("the new process did not start: {error}"),
//!             }
//!         }
//!     });
//!     running.wait()?; // until all accepted requests have their responses
//!     Ok(())
//! }
//! # #[cfg(unix)]
//! # fn restart_is_asked_for() -> bool { true }
//! # #[cfg(not(unix))]
//! # fn main() {}
//! ```
//!
//! The example `restart` does this on SIGHUP. `restart_is_asked_for` stands for what waits for the request: there it is
//! the crate `signal-hook`. The process id changes, so a service manager has to be told: the guide
//! [`systemd`](crate::guide::systemd) says how, and how systemd owns the socket instead.
//!
//! A program with several servers calls `inherit` for each of them and passes all stoppers to `hand_over`. A server without
//! `inherit` cannot bind its address in the new process, because the old one still has it, and the restart fails. `ready` comes
//! after the start of all of them.
//!
//! Windows has no hand-over. There a proxy in front goes over from the port of the old process to that of the new one;
//! then the old one is stopped. A Windows service calls [`Stopper::stop`](crate::server::Stopper::stop) from its control
//! handler; with [`Server::stop_on_signals`](crate::Server#method.stop_on_signals), Ctrl-C and Ctrl-Break stop a program in a
//! console.
//!
//! # Metrics
//!
//! Make a [`Stats`](crate::metrics::Stats), give it to the server, and serve its page:
//!
//! ```no_run
//! use peregrine::Server;
//! use peregrine::metrics::Stats;
//!
//! fn main() -> std::io::Result<()> {
//!     let stats = Stats::new();
//!     let seen = stats.clone();
//!     let app = move |req: &peregrine::Request<'_>, res: peregrine::Response<'_>| match req.path() {
//!         "/metrics" => res.header("Content-Type", Stats::CONTENT_TYPE).body(seen.prometheus()),
//!         _ => res.text("Hello, World!"),
//!     };
//!     Server::from_fn(app).stats(&stats).bind("127.0.0.1:8080").run()?;
//!     Ok(())
//! }
//! ```
//!
//! It has connections, requests, bytes, responses by class, errors by kind, requests by route, the lengths of queues,
//! and histograms of the time in handlers and of response times (sampled, see
//! [`Config::timed_one_in`](crate::Config::timed_one_in)). `peregrine_turn_seconds` is above 0.1 while a handler holds
//! its thread.
//! [`Counters`](crate::metrics::Counters) describes each number. A server with few requests times hardly any of them, so
//! its histograms are nearly empty: `Config::timed_one_in(1)` times all. The page is open to every client that can send
//! this request: serve it on an address of its own, or check the client first.
//!
//! [`Dashboard`](crate::Dashboard) is a page with live plots of these numbers. Mount it where only operators get, below a
//! layer that asks for a password:
//!
//! ```
//! use peregrine::layers::BasicAuth;
//! use peregrine::metrics::Stats;
//! use peregrine::{Dashboard, Router};
//!
//! let stats = Stats::new();
//! let operators = Router::new()
//!     .mount("/dashboard", Dashboard::new(&stats))
//!     .layer(BasicAuth::user("operators", "ada", "lovelace"));
//! let app = Router::new()
//!     .get("/", |_, res| res.text("Hello, World!"))
//!     .nest("/admin", operators);
//! # assert_eq!(peregrine::testing::get(&app, "/admin/dashboard/").status(), 401);
//! ```
//!
//! # An address for operators
//!
//! A second server has limits of its own. So health checks get through when the first one is overloaded, and they are neither
//! in its counters nor in its access log:
//!
//! ```no_run
//! use peregrine::metrics::Stats;
//! use peregrine::server::Health;
//! use peregrine::{Config, Dashboard, Router, Server};
//!
//! # #[cfg(feature = "signals")]
//! fn main() -> std::io::Result<()> {
//!     let (health, stats) = (Health::new(), Stats::new());
//!     let app = Router::new().get("/", |_, res| res.text("Hello, World!"));
//!     let server = Server::new(app).health(&health).stats(&stats);
//!     let server = server.bind("0.0.0.0:8080").stop_on_signals().start()?;
//!
//!     let seen = stats.clone();
//!     let operators = Router::new()
//!         .mount("/health", health) // /health/livez, /health/readyz
//!         .mount("/dashboard", Dashboard::new(&stats)) // /dashboard/
//!         .get("/metrics", move |_, res| {
//!             res.header("Content-Type", Stats::CONTENT_TYPE).body(seen.prometheus())
//!         });
//!     let operators = Server::new(operators).config(Config::default().workers(1));
//!     let _operators = operators.bind("127.0.0.1:8081").start()?; // for those who check and measure
//!     server.wait()?; // the second server ends with the program
//!     Ok(())
//! }
//! # #[cfg(not(feature = "signals"))]
//! # fn main() {}
//! ```
//!
//! # Access log
//!
//! [`AccessLog`](crate::access_log::AccessLog) wraps a handler. It writes a line for each request when the response is
//! complete, with its status and size, or with status 499 if its connection has ended before. (A client that closes only
//! its sending side may still read, so its line has the status of the response.) A thread of its own writes the lines, so
//! no worker waits for the disk. Lines that find no room in the buffer are counted by
//! [`LogWriter::lost`](crate::access_log::LogWriter::lost).
//!
//! ```no_run
//! use peregrine::{Server, from_fn};
//! use peregrine::access_log::{AccessLog, LogWriter};
//!
//! fn main() -> std::io::Result<()> {
//!     let log = LogWriter::new(std::io::stdout())?;
//!     let app = from_fn(|_, res| res.text("Hello, World!"));
//!     Server::new(AccessLog::new(app, log)).bind("127.0.0.1:8080").run()?;
//!     Ok(())
//! }
//! ```
//!
//! The lines have the combined format. [`AccessLog::with_format`](crate::access_log::AccessLog::with_format) takes a closure
//! that writes others, for instance with the duration, or none for some paths.
//!
//! The library does not open or rotate files. Standard output goes to the journal or to the runtime of the container. A file
//! is opened by the program with `OpenOptions::append`; `logrotate` then needs `copytruncate`, because the file is not
//! opened again.
//!
//! The library prints nothing itself, with one exception: in a debug build the default of
//! [`Handler::handle_error`](crate::Handler::handle_error) writes to standard error why a response could
//! not be sent. Events go to the crates `log` or `tracing`, if these features are on.
//!
//! # Traces
//!
//! With the feature `tracing`, the handler of each request runs in a span of the level `INFO` with the target
//! `peregrine::request`. Its fields are `http.request.method`, `url.path`, `http.route` (of a
//! [`Router`](crate::Router)), `http.response.status_code`, and from a valid `traceparent` of the client `trace_id` and
//! `parent_id`. A deferred response adds its status when it comes. On other threads, enter
//! `tracing::Span::current()` of the handler. [`Request::trace_parent`](crate::Request::trace_parent) returns the trace
//! without this feature, too, and [`TraceParent::child`](crate::trace::TraceParent::child) hands it on.
//!
//! # Error responses
//!
//! [`Handler::error_response`](crate::Handler::error_response) shapes the responses of the library, for
//! instance as JSON with fields for CORS. The layer [`ErrorPages`](crate::layers::ErrorPages) makes pages for browsers,
//! for these and all other errors.
//!
//! ```
//! use peregrine::{Done, Handler, Request, Response};
//! use peregrine::error::ErrorContext;
//!
//! struct Api;
//!
//! impl Handler for Api {
//!     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
//!         res.text("hi")
//!     }
//!
//!     fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
//!         res.header("Content-Type", "application/json")
//!             .header("Access-Control-Allow-Origin", "*")
//!             .body(format!("{{\"error\":\"{}\"}}", error.text()))
//!     }
//! }
//! # let mut client = peregrine::testing::Connection::new(&Api);
//! # client.send(b"GET / HTTP/1.1\r\n\r\n");
//! # assert!(client.received().ends_with(b"\r\n\r\n{\"error\":\"no Host\"}"));
//! ```
//!
//! # Containers
//!
//! The default number of workers follows the CPUs that the process may use, by its affinity and by the
//! CPU quota of its control groups. `Config::buffered_bytes` does not follow the memory limit of a
//! container: set it.
