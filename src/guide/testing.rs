//! Tests of a program: requests and responses in memory.
//!
//! A test needs no socket and no thread. [`testing`](crate::testing) runs the code that serves real
//! connections, so limits, errors and header fields are the same.
//!
//! | in a test | for |
//! |---|---|
//! | [`get`], [`post`], [`post_form`], `post_json` | one request, one response |
//! | [`Client`] | cookies, redirects, other methods and fields, the address of the client, a [`Config`](crate::Config) |
//! | [`Connection`] | bytes in pieces, pipelined requests, timeouts, timers, events and other endless responses |
//! | `WebSocket`, `Client::websocket` | messages of a WebSocket, without and with cookies; feature `websocket` |
//!
//! ```
//! use peregrine::testing::{Client, get};
//! use peregrine::{Config, Limits};
//!
//! let app = peregrine::from_fn(|req, res| match (req.method(), req.path()) {
//!     ("GET" | "HEAD", "/") => res.html("<h1>Notes</h1>"),
//!     ("POST", "/notes") => match req.form("text") {
//!         Some(text) => res.redirect(303, format!("/notes/{text}")),
//!         None => res.status(422).text("`text` is missing"),
//!     },
//!     ("GET" | "HEAD", path) => res.text(path),
//!     _ => res.status(405).header("Allow", "GET, HEAD").text("method not allowed"),
//! });
//!
//! let page = get(&app, "/");
//! assert_eq!(page.status(), 200);
//! assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
//! assert_eq!(page.text(), "<h1>Notes</h1>");
//!
//! let mut client = Client::new(&app).follow_redirects();
//! assert_eq!(client.post("/notes").form(&[("text", "milk")]).send().text(), "/notes/milk");
//! assert_eq!(client.request("DELETE", "/").send().status(), 405);
//!
//! // A client elsewhere, of a server with another limit.
//! let limits = Limits::default().body_bytes(10);
//! let mut client = Client::new(&app)
//!     .config(Config::default().limits(limits))
//!     .peer(([192, 0, 2, 1], 5000).into());
//! assert_eq!(client.post("/notes").body("more than ten bytes").send().status(), 413);
//! ```
//!
//! # Time
//!
//! The time of a [`Connection`] stands still until [`Connection::elapse`] moves it: that of timeouts and timers.
//! [`Config::request_rate`](crate::Config::request_rate), the layer `RateLimit`, a `ResponseCache` and `Sessions` read the clock of the
//! system, which `elapse` does not move.
//!
//! # What fails a test
//!
//! The methods of a test panic where a program would have to handle an error, with the line of the test:
//!
//! | call | panics if |
//! |---|---|
//! | [`ClientRequest::send`] | the connection is closed before the response is complete, a minute passes, or there are more than 10 redirects |
//! | [`ClientResponse::text`], [`ClientResponse::header`] | the bytes are not UTF-8 |
//! | `ClientResponse::json` | the body is no JSON, or has another type |
//! | `Client::websocket`, `WebSocket::connect_with_hub` | the `Hub` is connected already: in a test it has one WebSocket |
//!
//! A handler that panics gives 500, as in a server.
//!
//! [`get`]: crate::testing::get
//! [`post`]: crate::testing::post
//! [`post_form`]: crate::testing::post_form
//! [`Client`]: crate::testing::Client
//! [`ClientRequest::send`]: crate::testing::ClientRequest::send
//! [`ClientResponse::text`]: crate::testing::ClientResponse::text
//! [`ClientResponse::header`]: crate::testing::ClientResponse::header
//! [`Connection`]: crate::testing::Connection
//! [`Connection::elapse`]: crate::testing::Connection::elapse
