//! Code that blocks: the thread pool, deferred responses, async runtimes.
//!
//! **A handler runs on the event loop of its worker.** While it runs, all other connections of this
//! worker wait. This differs from servers with a thread for each connection or request. A handler should
//! return within a millisecond. There is one worker for each CPU by default.
//!
//! | the handler | what to do |
//! |---|---|
//! | computes for less than a millisecond, takes a lock that is held shortly | respond at once |
//! | asks a database, calls another server, reads a slow disk, computes for long | [`Response::offload`] |
//! | waits for something that another thread or task will report | [`Response::defer`] |
//! | produces a long body slowly | [`Response::stream`], see [`responses`](super::responses) |
//! | receives a large body slowly | [`BodyReader`] or a sink, see [`request_bodies`](super::request_bodies) |
//! | waits for a time | a timer, see [`Response::timers`] |
//!
//! [`Counters::handlers_blocking`](crate::metrics::Counters::handlers_blocking)
//! (`peregrine_handlers_blocking_total`) counts calls that held their worker for 100 ms or more. A build with debug
//! assertions counts all of them and warns, with the method, the path and the time: to `log` or `tracing`, or else to
//! standard error. A release build does not read the clock for each request, so it misses most of them by default: under
//! steady traffic about one of 64 is counted. With [`Config::timed_one_in`] set to 1 it counts all. The hooks of
//! WebSockets are not timed in any build.
//!
//! # The thread pool
//!
//! `offload` copies the request, returns at once, and runs a closure on a thread of the pool. The closure
//! must be `'static`, so it cannot borrow the handler. Clone an [`Arc`](std::sync::Arc) of what it needs:
//!
//! ```
//! use peregrine::{Done, Handler, Request, Response};
//! use std::sync::Arc;
//!
//! struct Database; // a pool of connections, for instance
//!
//! impl Database {
//!     fn find(&self, name: &str) -> Option<String> {
//!         (name == "Ada").then(|| "mathematician".to_owned()) // imagine a query that takes 50 ms
//!     }
//! }
//!
//! struct App {
//!     database: Arc<Database>,
//! }
//!
//! impl Handler for App {
//!     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
//!         let database = self.database.clone();
//!         res.offload(req, move |req, res| {
//!             let name = req.query("name").unwrap_or_default();
//!             match database.find(&name) {
//!                 Some(text) => res.text(text),
//!                 None => res.status(404).text("unknown"),
//!             }
//!         })
//!     }
//! }
//! # let app = App { database: Arc::new(Database) };
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"GET /?name=Ada HTTP/1.1\r\nHost: test\r\n\r\n");
//! # assert!(client.wait(std::time::Duration::from_secs(60)));
//! # assert!(client.received().ends_with(b"mathematician"));
//! ```
//!
//! - [`Config::pool_threads`] closures run at a time: by default 4 for each CPU, at least 8. Threads
//!   start when they are first needed.
//! - [`Config::pool_queue`] requests wait, by default 1,024. A request beyond that gets 503 with
//!   `Retry-After: 1`.
//! - A panic in the closure is a 500.
//! - Pipelined responses of one connection keep their order.
//! - A stop waits for the closures that run, up to [`Config::stop_timeout`].
//!
//! | what happens | the client sees |
//! |---|---|
//! | the pool and its queue are full | 503 with `Retry-After: 1` |
//! | the closure returns an error | the response to that error |
//! | the closure panics | 500 |
//! | the value of a thread cannot be made ([`PerThread`](crate::router::PerThread)) | 500; the next request tries again |
//! | the response takes longer than [`Limits::response_timeout`] | 503; the closure runs on, and its response is dropped |
//!
//! # A value for each thread
//!
//! A client of a database that blocks often is not `Sync`. [`PerThread`](crate::router::PerThread) has one for each thread
//! of the pool, so at most [`Config::pool_threads`] connections are open. The guide [`routing`](super::routing) has an
//! example. The repository has two programs: `examples/notes` with SQLite, and `examples/redis`.
//!
//! # Deferred responses
//!
//! `defer` returns a [`Responder`]. Any thread can send the response with it. Copy what you need from the
//! request first: a [`Request`](crate::Request) borrows from the connection. [`Request::to_owned_request`] copies
//! all of it.
//!
//! ```
//! use peregrine::{Done, Request, Response};
//!
//! fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
//!     let path = req.path().to_owned();
//!     let (done, responder) = res.defer();
//!     std::thread::spawn(move || {
//!         let _ = responder.send(|res| res.text(format!("{path} is ready")));
//!     });
//!     done
//! }
//! # let app = peregrine::from_fn(handle);
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"GET /report HTTP/1.1\r\nHost: test\r\n\r\n");
//! # assert!(client.wait(std::time::Duration::from_secs(60)));
//! # assert!(client.received().ends_with(b"/report is ready"));
//! ```
//!
//! - A responder that is dropped without a response gives the client a 500.
//! - A response that takes longer than [`Limits::response_timeout`] (300 s) is a 503.
//! - If the client has disconnected, `send` returns false and does not call the closure.
//!   [`Responder::is_gone`] can be asked before. The response cannot reach another client.
//!
//! # Async runtimes
//!
//! Start the runtime beside the server, spawn a task in the handler, and let the task call
//! [`Responder::send`]. The example `late_async` does this with tokio.
//!
//! # The requests of a turn together
//!
//! A worker handles all requests that have come, and then waits. [`Handler::before_wait`] is called between the two: it can
//! respond to all requests of the turn by one query, one call of another language, or under one lock. Its
//! documentation has an example. [`Handler::after_wait`] is called when the wait has ended.
//!
//! # Finding handlers that block
//!
//! [`Stats`] counts the sampled calls of the handler that took long: `handlers_over_10ms`,
//! `handlers_over_100ms` and `handlers_over_1s` of [`Counters`]. With [`Config::timed_one_in`] set to 1
//! every call is timed.
//!
//! [`BodyReader`]: crate::body::BodyReader
//! [`Config::pool_queue`]: crate::Config::pool_queue
//! [`Config::pool_threads`]: crate::Config::pool_threads
//! [`Config::stop_timeout`]: crate::Config::stop_timeout
//! [`Config::timed_one_in`]: crate::Config::timed_one_in
//! [`Counters`]: crate::metrics::Counters
//! [`Handler::after_wait`]: crate::Handler::after_wait
//! [`Handler::before_wait`]: crate::Handler::before_wait
//! [`Limits::response_timeout`]: crate::Limits::response_timeout
//! [`Request::to_owned_request`]: crate::Request::to_owned_request
//! [`Responder`]: crate::Responder
//! [`Responder::is_gone`]: crate::Responder::is_gone
//! [`Responder::send`]: crate::Responder::send
//! [`Response::defer`]: crate::Response::defer
//! [`Response::offload`]: crate::Response::offload
//! [`Response::stream`]: crate::Response::stream
//! [`Response::timers`]: crate::Response::timers
//! [`Stats`]: crate::metrics::Stats
