//! A first program: routes, state, errors, tests.
//!
//! # A closure
//!
//! A handler gets a [`Request`](crate::Request) and a [`Response`](crate::Response). It responds with a
//! method of `Response` and returns the [`Done`](crate::Done) of this method. A handler without a response
//! does not compile. A handler with two responses does not compile either.
//!
//! ```no_run
//! use peregrine::Server;
//!
//! fn main() -> std::io::Result<()> {
//!     Server::from_fn(|req, res| match (req.method(), req.path()) {
//!         ("GET" | "HEAD", "/") => res.text("Hello, World!"),
//!         _ => res.status(404).text("not found"),
//!     })
//!     .bind("127.0.0.1:8080")
//!     .run()?;
//!     Ok(())
//! }
//! ```
//!
//! `HEAD` reaches the handler as `HEAD`. Respond as to `GET`: the library omits the body.
//!
//! # State
//!
//! A program with state implements [`Handler`](crate::Handler). One value serves all connections of all
//! threads. Put what changes behind an atomic or a lock.
//!
//! # Routes
//!
//! [`routing`](super::routing) shows the router. A few routes need none: match on the method and on the parts of the path.
//! [`Request::path`] is not percent-decoded.
//!
//! ```
//! use peregrine::{Done, Handler, Request, Response};
//! use std::collections::BTreeMap;
//! use std::sync::{Mutex, PoisonError};
//!
//! #[derive(Default)]
//! struct Notes {
//!     notes: Mutex<BTreeMap<u64, String>>,
//! }
//!
//! impl Handler for Notes {
//!     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
//!         let parts: Vec<&str> = req.path().split('/').skip(1).collect();
//!         match (req.method(), parts.as_slice()) {
//!             ("POST", ["notes"]) => self.add(req, res),
//!             ("GET" | "HEAD", ["notes", id]) => self.show(id, res),
//!             (_, ["notes"]) => not_allowed(res, "POST"),
//!             (_, ["notes", _]) => not_allowed(res, "GET, HEAD"),
//!             _ => res.status(404).text("not found"),
//!         }
//!     }
//! }
//!
//! impl Notes {
//!     fn add(&self, req: &Request<'_>, res: Response<'_>) -> Done {
//!         let Ok(text) = std::str::from_utf8(req.body()) else {
//!             return res.status(400).text("not UTF-8");
//!         };
//!         // A panic of another handler poisons the lock, but leaves the map complete.
//!         let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
//!         let id = notes.len() as u64 + 1;
//!         notes.insert(id, text.to_owned());
//!         res.status(201).header("Location", format!("/notes/{id}")).body("")
//!     }
//!
//!     fn show(&self, id: &str, res: Response<'_>) -> Done {
//!         let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
//!         match id.parse().ok().and_then(|id: u64| notes.get(&id)) {
//!             Some(text) => res.text(text),
//!             None => res.status(404).text("no such note"),
//!         }
//!     }
//! }
//!
//! fn not_allowed(res: Response<'_>, allowed: &str) -> Done {
//!     res.status(405).header("Allow", allowed).text("method not allowed")
//! }
//!
//! // A handler is tested without sockets, by the code that serves real connections.
//! let app = Notes::default();
//! let mut client = peregrine::testing::Connection::new(&app);
//! client.send(b"POST /notes HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nmilk");
//! assert!(client.take_received().starts_with(b"HTTP/1.1 201 Created\r\n"));
//! client.send(b"GET /notes/1 HTTP/1.1\r\nHost: test\r\n\r\n");
//! assert!(client.take_received().ends_with(b"\r\n\r\nmilk"));
//! client.send(b"PUT /notes/1 HTTP/1.1\r\nHost: test\r\n\r\n");
//! assert!(client.take_received().starts_with(b"HTTP/1.1 405 Method Not Allowed\r\n"));
//! ```
//!
//! # Handlers with `?`
//!
//! A handler that is a closure or function may return a `Result`. An error becomes the response. What the handler had
//! begun is taken back.
//!
//! ```
//! use peregrine::error::{BoxError, Problem, Status};
//! use peregrine::{Done, Request, Response};
//!
//! fn double(req: &Request<'_>, res: Response<'_>) -> Result<Done, BoxError> {
//!     let n = req.query("n").ok_or(Status(400))?;
//!     let n: u32 = n.parse().map_err(|_| Problem::new(422).detail("`n` is not a number"))?;
//!     let base = std::env::var("BASE").unwrap_or_default();
//!     let base: u32 = if base.is_empty() { 2 } else { base.parse()? };
//!     Ok(res.text((n * base).to_string()))
//! }
//! # let app = peregrine::from_fn(double);
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"GET /?n=21 HTTP/1.1\r\nHost: test\r\n\r\n");
//! # assert!(client.take_received().ends_with(b"\r\n\r\n42"));
//! # client.send(b"GET /?n=x HTTP/1.1\r\nHost: test\r\nAccept: application/json\r\n\r\n");
//! # assert!(client.take_received().ends_with(b"\"detail\":\"`n` is not a number\"}"));
//! # client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
//! # assert!(client.take_received().starts_with(b"HTTP/1.1 400 "));
//! ```
//!
//! | error | response |
//! |---|---|
//! | [`Status`](crate::error::Status) | this status, with its reason phrase |
//! | [`Problem`](crate::error::Problem) | this status and text |
//! | `FormError`, `ParamError`, `JsonError`, `MultipartError`, `UploadError` | the status and, below 500, the text of the error |
//! | [`std::io::Error`] of a handler that returns `Result<Done, std::io::Error>` | 404 if something was not found, 403 if it was not permitted, else 500 |
//! | a type of yours of a handler that returns `Result<Done, ThisType>` | what its [`HandlerError`](crate::error::HandlerError) says |
//! | in a [`BoxError`](crate::error::BoxError): one of the first three rows | the same |
//! | in a `BoxError`: any other, such as that of `base.parse()?`, a [`std::io::Error`], a type of yours | 500 |
//!
//! So in a handler that returns `Result<Done, BoxError>`, an error that is not the fault of the server needs
//! `.map_err(|_| Status(404))`, as above.
//!
//! The response is `application/problem+json` (RFC 9457) if the client prefers JSON, and text otherwise. With a status of
//! 500 or above the client learns nothing else, and [`Handler::handle_error`](crate::Handler::handle_error) gets the
//! error with its causes. A debug build sends them to the client too, as a page for browsers, and writes them to standard error. A
//! release build writes nothing: implement `handle_error`, or turn on the feature `log` or `tracing`.
//!
//! The text of an error and its causes has at most 4,096 bytes in a report. A response of
//! [`Handler::error_response`](crate::Handler::error_response) has at most 64 KiB; a longer one is replaced by the default.
//!
//! # Panics and errors
//!
//! - A handler that panics gives its client a 500 and closes that connection. The other connections
//!   continue. A `Mutex` that the handler had locked stays poisoned; the example above shows how to lock
//!   it.
//! - A response that cannot be sent, for instance with a line feed in a header field, becomes a 500.
//!   [`Handler::handle_error`](crate::Handler::handle_error) is told why. In a debug build the default
//!   writes the reason to standard error.
//! - Responses of the library (400, 408, 413, 500 and others) are one line of text.
//!   [`Handler::error_response`](crate::Handler::error_response) gives them another form, for instance
//!   JSON.
//!
//! [`Request::path`]: crate::Request::path
