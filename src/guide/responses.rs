//! Ways to respond: complete, deferred, streamed, as events.
//!
//! # Which method
//!
//! | method | body | copied | where it runs |
//! |---|---|---|---|
//! | [`body`], [`body_as`], [`text`], [`html`] | bytes or text | yes | in the handler |
//! | [`send`] | a [`Payload`]: `Vec<u8>`, `String`, `Arc<[u8]>`, `&'static` data | below 16 KiB only | in the handler |
//! | [`send_prepared`] | a whole response that was built once, with its fields | below 16 KiB only | in the handler |
//! | [`write_with`] | what a closure writes | written in place | in the handler |
//! | [`send_file`] | a range of an open file | no (`sendfile`) | sent 96 KiB a turn |
//! | [`redirect`], [`redirect_local`] | none | | in the handler |
//! | [`offload`] | any | as the method that the closure calls | closure on the thread pool |
//! | [`defer`] | any | as the method that the closure calls | any thread, later |
//! | [`send_iter`] | pieces of an iterator | below 16 KiB only | drawn by the worker; `next` must not block |
//! | [`send_reader`] | what a reader gives | read into buffers of 16 KiB | drawn by the worker; reads must not block |
//! | [`stream`], [`stream_exact`] | pieces from any thread | below 16 KiB only | any thread, later |
//! | [`events`], [`events_with_heartbeat`] | server-sent events | | any thread, later |
//!
//! Set the status and header fields before. `Content-Length`, `Transfer-Encoding`, `Connection`,
//! `Keep-Alive`, `Proxy-Connection`, `Date` and `Server` belong to the library; [`Response::header`]
//! leaves them out. To close the connection after a response, call [`Response::close`].
//!
//! [`Response::attachment`] lets a browser store the body as a file:
//!
//! ```
//! # let app = peregrine::from_fn(|_, res| {
//! res.attachment("numbers.json").header("Content-Type", "application/json").body(r#"{"ok":true}"#)
//! # });
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
//! # assert!(client.received().ends_with(b"{\"ok\":true}"));
//! ```
//!
//! # Responses that never change
//!
//! A [`PreparedResponse`] is built once, with everything that [`Response`] can do, and sent to many clients. It is the cheapest response, and
//! a fault in it is an error when the program starts:
//!
//! ```
//! use peregrine::{PreparedResponse, Router};
//!
//! # fn main() -> Result<(), peregrine::error::ResponseError> {
//! let version = PreparedResponse::new(|res| {
//!     res.header("Content-Type", "application/json").header("Cache-Control", "max-age=60").body(r#"{"version":7}"#)
//! })?;
//! let app = Router::new().get("/version", move |_, res| res.send_prepared(&version));
//! # assert_eq!(peregrine::testing::get(&app, "/version").text(), r#"{"version":7}"#);
//! # Ok(())
//! # }
//! ```
//!
//! Layers, compression, HEAD and all versions of HTTP work as with any response.
//!
//! # Streamed bodies
//!
//! [`stream`] sends the head and returns a [`BodySender`]. The body is chunked, or ends with the
//! connection for an HTTP/1.0 client. [`stream_exact`] declares a length.
//!
//! ```
//! use peregrine::{Done, Request, Response};
//!
//! fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
//!     let (done, mut body) = res.header("Content-Type", "text/plain").stream();
//!     std::thread::spawn(move || {
//!         for n in 0..3 {
//!             body.send(format!("{n}\n"))?; // an error: the client has disconnected
//!         }
//!         body.finish()
//!     });
//!     done
//! }
//! # let app = peregrine::from_fn(handle);
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
//! # while !client.received().ends_with(b"\r\n0\r\n\r\n") {
//! #     assert!(client.wait(std::time::Duration::from_secs(60)));
//! # }
//! ```
//!
//! - The bytes that a client has not taken are limited by [`Limits::output_bytes`] (256 KiB). Beyond that
//!   `send` waits, `try_send` gives the piece back, and `on_ready` calls a function when there is room.
//! - `send` does not wait on a thread of a worker. There it returns [`SendError::WouldBlock`]. Use
//!   `try_send` in a timer.
//! - A sender that is dropped before [`BodySender::finish`] aborts the connection. So the client can tell
//!   an incomplete body from a complete one.
//!
//! # Server-sent events
//!
//! [`events`] sends events to the `EventSource` of a page. A timer of the worker can send them, so no thread
//! is needed:
//!
//! ```
//! use peregrine::{Done, Request, Response};
//! use peregrine::sse::Event;
//! use std::time::Duration;
//!
//! fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
//!     let timers = res.timers();
//!     let (done, mut events) = res.events();
//!     let mut n = 0;
//!     let ticking = timers.every_while(Duration::from_secs(1), move || {
//!         n += 1;
//!         let event = Event::new().event("tick").id(n.to_string()).data(format!("{n} s"));
//!         let _ = events.try_send(event); // a client that is behind misses this one
//!         !events.is_gone()
//!     });
//!     drop(ticking); // the handle could cancel the timer; the drop does not
//!     done
//! }
//! # let app = peregrine::from_fn(handle);
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n");
//! # client.elapse(Duration::from_secs(1));
//! # assert!(client.received().ends_with(b"event: tick\nid: 1\ndata: 1 s\n\n\r\n"));
//! ```
//!
//! - After 15 s without an event the worker sends a comment. This keeps proxies from closing the
//!   connection, and it finds clients that have disconnected.
//! - Dropping the sender ends the stream. The browser then connects again and sends its last id
//!   ([`Request::last_event_id`]).
//! - A server that stops ends all streams of events at once.
//! - [`EventHub`] sends one event to all pages that have subscribed to a topic. It drops a page that
//!   falls behind; the browser then connects again and asks for what it missed. A
//!   [`History`](super::history) sends that, and then each new event, none twice and none left out.
//!
//! | what happens | what it looks like |
//! |---|---|
//! | the page has gone | [`SendError::Gone`]; `EventSender::on_gone` calls a function at once |
//! | a page is behind: more than [`Limits::output_bytes`] wait | `try_send` gives the event back; a hub drops the page |
//! | a name or an id of an event has a line break | [`SendError::Event`] |
//! | more than 64 topics of a page, or a name of more than 256 bytes (`EventLimits`) | an error of `EventHub::subscribe` |
//! | more streams than seven eighths of [`Config::connections`](crate::Config::connections) | 503 with `Retry-After` |
//!
//! [`BodySender`]: crate::body::BodySender
//! [`BodySender::finish`]: crate::body::BodySender::finish
//! [`EventHub`]: crate::sse::EventHub
//! [`Limits::output_bytes`]: crate::Limits::output_bytes
//! [`Payload`]: crate::Payload
//! [`PreparedResponse`]: crate::PreparedResponse
//! [`Request::last_event_id`]: crate::Request::last_event_id
//! [`Response`]: crate::Response
//! [`Response::attachment`]: crate::Response::attachment
//! [`Response::close`]: crate::Response::close
//! [`Response::header`]: crate::Response::header
//! [`SendError::Event`]: crate::body::SendError::Event
//! [`SendError::Gone`]: crate::body::SendError::Gone
//! [`SendError::WouldBlock`]: crate::body::SendError::WouldBlock
//! [`body`]: crate::Response::body
//! [`body_as`]: crate::Response::body_as
//! [`defer`]: crate::Response::defer
//! [`events`]: crate::Response::events
//! [`events_with_heartbeat`]: crate::Response::events_with_heartbeat
//! [`html`]: crate::Response::html
//! [`offload`]: crate::Response::offload
//! [`redirect`]: crate::Response::redirect
//! [`redirect_local`]: crate::Response::redirect_local
//! [`send`]: crate::Response::send
//! [`send_file`]: crate::Response::send_file
//! [`send_iter`]: crate::Response::send_iter
//! [`send_prepared`]: crate::Response::send_prepared
//! [`send_reader`]: crate::Response::send_reader
//! [`stream`]: crate::Response::stream
//! [`stream_exact`]: crate::Response::stream_exact
//! [`text`]: crate::Response::text
//! [`write_with`]: crate::Response::write_with
