//! Routing: methods and paths, parameters, groups of routes, handlers that block.
//!
//! A [`Router`](crate::Router) is a handler that is made of routes. A program that has a closure as its handler pays nothing for
//! it.
//!
//! ```
//! use peregrine::error::{BoxError, Status};
//! use peregrine::{Done, Request, Response, Router};
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex, PoisonError};
//!
//! type Notes = Mutex<BTreeMap<u64, String>>;
//!
//! fn notes(notes: Arc<Notes>) -> Router {
//!     let for_add = notes.clone();
//!     Router::new()
//!         .get("/{id}", move |req, res| show(&notes, req, res))
//!         .post("/", move |req, res| add(&for_add, req, res))
//! }
//!
//! fn show(notes: &Notes, req: &Request<'_>, res: Response<'_>) -> Result<Done, BoxError> {
//!     let id: u64 = req.param("id")?; // 404 if it is not a number
//!     let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
//!     let text = notes.get(&id).ok_or(Status(404))?;
//!     Ok(res.text(text))
//! }
//!
//! fn add(notes: &Notes, req: &Request<'_>, res: Response<'_>) -> Result<Done, BoxError> {
//!     let text = std::str::from_utf8(req.body()).map_err(|_| Status(400))?;
//!     let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
//!     let id = notes.len() as u64 + 1;
//!     notes.insert(id, text.to_owned());
//!     Ok(res.status(201).header("Location", format!("/notes/{id}")).body(""))
//! }
//!
//! let app = Router::new()
//!     .get("/", |_, res| res.html("<h1>Notes</h1>"))
//!     .nest("/notes", notes(Arc::default()));
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"POST /notes HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nmilk");
//! # assert!(client.take_received().starts_with(b"HTTP/1.1 201 Created\r\n"));
//! # client.send(b"GET /notes/1 HTTP/1.1\r\nHost: test\r\n\r\n");
//! # assert!(client.take_received().ends_with(b"\r\n\r\nmilk"));
//! # client.send(b"GET /notes/2 HTTP/1.1\r\nHost: test\r\n\r\n");
//! # assert!(client.take_received().starts_with(b"HTTP/1.1 404 Not Found\r\n"));
//! # client.send(b"PUT /notes/1 HTTP/1.1\r\nHost: test\r\n\r\n");
//! # assert!(client.take_received().starts_with(b"HTTP/1.1 405 Method Not Allowed\r\n"));
//! ```
//!
//! # Patterns
//!
//! | pattern | matches | parameter of `/icons/a%20b.png` or `/files/x/y` |
//! |---|---|---|
//! | `/about` | this path | |
//! | `/icons/{name}` | one segment | `req.param_str("name")` is `a b.png` |
//! | `/icons/{name}.png` | a segment that begins or ends with a text | `a b` |
//! | `/files/{*path}` | the rest of the path | `x/y` |
//!
//! A parameter is never empty. `req.param::<u64>("id")` parses it, and `req.param_str("name")` is its text, percent-decoded. The path is
//! compared as the client has sent it. The more specific pattern has precedence, as [`Router`](crate::Router#patterns) says.
//!
//! # Which method does what
//!
//! | method | for |
//! |---|---|
//! | [`get`](crate::Router::get), `post`, `put`, `delete`, `patch`, `any` | a method and a pattern |
//! | [`route`](crate::Router::route) | a [`Route`](crate::router::Route) with a body limit, a body plan, a time limit, layers or a guard |
//! | [`nest`](crate::Router::nest) | the routes of another router below a prefix |
//! | [`layer`](crate::Router::layer) | what is around all routes; see the [guide](crate::guide::layers) |
//! | [`mount`](crate::Router::mount) | any handler below a prefix: a folder, a router with a setting of its own |
//! | [`host`](crate::Router::host) | the routes of a host; paths that they do not have go to the other routes |
//! | [`offload`](crate::Router::offload) | all routes run on threads of the pool |
//! | [`not_found`](crate::Router::not_found) | requests that no pattern matches |
//! | [`slash`](crate::Router::slash) | paths with a slash more or less at their end |
//! | [`routes`](crate::Router::routes) | the list of all routes, as a page and as JSON |
//!
//! The order of these calls does not matter, with three exceptions: a layer that is added first is outside, a guard that is added first is
//! asked first, and `routes` lists the routes that are there when it is called.
//!
//! A guard selects by more than method and path, and a route without a guard gets the rest:
//!
//! ```
//! use peregrine::Router;
//! use peregrine::router::Route;
//!
//! let app = Router::new()
//!     .get("/feed", |_, res| res.text("new"))
//!     .route(Route::get("/feed", |_, res| res.text("old")).when(|req| req.query("version").as_deref() == Some("1")))
//!     .host("api.example", Router::new().route(Route::put("/feed", |_, res| res.text("saved")).body_limit(64 << 10)));
//! # let mut client = peregrine::testing::Client::new(&app);
//! # assert_eq!(client.get("/feed?version=1").send().text(), "old");
//! # assert_eq!(client.get("/feed").send().text(), "new");
//! # assert_eq!(client.request("PUT", "/feed").send().status(), 405);
//! ```
//!
//! # Responses of the router
//!
//! | request | response |
//! |---|---|
//! | HEAD | that of the route for GET, without its body |
//! | OPTIONS without a route | 204 with `Allow` |
//! | a pattern matches, but no route is for the method | 405 with `Allow`, before the body is read |
//! | no pattern matches, or only `{*name}` without a route for the method | 404, before the body is read |
//! | a slash more or less at the end of the path | 404, unless [`slash`](crate::Router::slash) is set |
//!
//! # Errors
//!
//! | what | when | effect |
//! |---|---|---|
//! | two routes with the same pattern and method, names of parameters aside | the program starts | a panic that names both places in the source; an error of [`try_route`](crate::Router::try_route) |
//! | a pattern that is not valid | the program starts | the same |
//! | a parameter cannot be parsed | `req.param(..)?` | 404 |
//! | the pool is full | a handler with `offload` | 503 |
//!
//! # Limits
//!
//! | limit | value | above it |
//! |---|---|---|
//! | parameters of a pattern | 8 | the program does not start: a panic with the place, or an error of `try_route` |
//! | bytes of a pattern | 4,096 | the same |
//! | routes | none | |
//! | [`Route::body_limit`](crate::router::Route::body_limit) | [`Limits::body_bytes`](crate::Limits::body_bytes), 1 MiB | 413 |
//! | [`Route::timeout`](crate::router::Route::timeout) | [`Limits::response_timeout`](crate::Limits::response_timeout), 300 s | 503 |
//!
//! A path is as long as the request head allows: 16 KiB.
//!
//! # Handlers that block
//!
//! [`offload`](crate::router::offload) runs a handler on a thread of the pool. A [`PerThread`](crate::router::PerThread) also
//! has a value for each of these threads, such as a connection to a database, which its routes share.
//! [`offload_with`](crate::router::offload_with) is short for one route:
//!
//! ```
//! use peregrine::Router;
//! use peregrine::error::BoxError;
//! use peregrine::router::{PerThread, offload};
//!
//! struct Database; // In place of `rusqlite::Connection`, for example.
//!
//! impl Database {
//!     fn open() -> Result<Database, BoxError> {
//!         Ok(Database)
//!     }
//!
//!     fn count(&mut self) -> Result<u64, BoxError> {
//!         Ok(3)
//!     }
//! }
//!
//! let db = PerThread::new(Database::open);
//! let app = Router::new()
//!     .get("/slow", offload(|_, res| res.text("computed")))
//!     .get("/count", db.offload(|db, _, res| -> Result<_, BoxError> {
//!         Ok(res.text(db.count()?.to_string()))
//!     }))
//!     .get("/half", db.offload(|db, _, res| -> Result<_, BoxError> {
//!         Ok(res.text((db.count()? / 2).to_string()))
//!     }));
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"GET /count HTTP/1.1\r\nHost: test\r\n\r\n");
//! # assert!(client.wait(std::time::Duration::from_secs(60)));
//! # assert!(client.take_received().ends_with(b"\r\n\r\n3"));
//! ```
//!
//! The crates `examples/notes` (SQLite) and `examples/redis` of the repository do this with real clients. Such a client
//! reports a connection that has ended by an error; [`PerThread::keep_if`](crate::router::PerThread::keep_if) replaces the
//! connection then.
//!
//! # WebSockets
//!
//! `Router::websocket` serves WebSocket connections beside the routes. It comes last:
//!
//! ```
//! # #[cfg(feature = "websocket")]
//! # fn main() {
//! use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};
//! use peregrine::{Done, Handler, Request, Response, Router};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
//!         res.status(426).header("Upgrade", "websocket").text("a WebSocket\n")
//!     }
//! }
//!
//! impl WebSocketHandler for Echo {
//!     type Conn = ();
//!
//!     fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
//!         Some(())
//!     }
//!
//!     fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
//!         ws.send(message);
//!     }
//! }
//!
//! let app = Router::new()
//!     .get("/", |_, res| res.html("<script src=/echo.js></script>"))
//!     .websocket("/echo", Echo); // peregrine::Server::new(app).websocket()
//! # assert_eq!(peregrine::testing::get(&app, "/").status(), 200);
//! # assert!(peregrine::testing::WebSocket::connect(&app, "/echo").is_ok());
//! # }
//! # #[cfg(not(feature = "websocket"))]
//! # fn main() {}
//! ```
//!
//! | request | who responds |
//! |---|---|
//! | a handshake with the path of the pattern | `accept_ws` accepts or refuses it; it can ask for `req.param(..)` |
//! | the same, and a layer refuses it | the layer |
//! | another GET with this path | `handle_request` of the handler |
//! | all others | the routes |
//!
//! # Logs and metrics by route
//!
//! [`Request::route`](crate::Request::route) and [`AccessEntry::route`](crate::access_log::AccessEntry::route) are the pattern of
//! the route, such as `/notes/{id}`.
