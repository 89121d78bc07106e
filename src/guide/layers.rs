//! Layers: CORS, authentication, limits, and code of your own around handlers.
//!
//! A [`Layer`] runs before and after the handlers of a router, of a nested router, or of one route. It may respond itself. A
//! program without layers pays nothing for them.
//!
//! ```
//! use peregrine::layers::{self, BearerAuth, Cors, RateLimit, RequestId, SecurityHeaders};
//! use peregrine::router::{Route, offload};
//! use peregrine::testing::Client;
//! use peregrine::Router;
//! use std::time::Duration;
//!
//! let api = Router::new()
//!     .get("/numbers", |_, res| res.text("1 2 3"))
//!     .route(Route::get("/report", offload(|_, res| res.text("slow"))).timeout(Duration::from_secs(300)))
//!     .layer(Cors::new().origins(["https://app.example"]))
//!     .layer(BearerAuth::tokens("api", ["t0ken"]));
//! let app = Router::new()
//!     .get("/", |_, res| res.html("<h1>Numbers</h1>"))
//!     .nest("/api", api)
//!     .layer(RequestId::new())
//!     .layer(SecurityHeaders::new())
//!     .layer(RateLimit::new(100, Duration::from_secs(10)))
//!     .layer(layers::from_fn(|req, res, next| {
//!         let path = req.path();
//!         let done = next.run(req, res);
//!         // The status of a response that comes later is not known yet.
//!         if !done.is_deferred() {
//!             println!("{path} has status {}", done.status());
//!         }
//!         done
//!     }));
//!
//! let mut client = Client::new(&app);
//! let refused = client.get("/api/numbers").header("Origin", "https://app.example").send();
//! assert_eq!(refused.status(), 401);
//! // The page can read the error, because `Cors` is around `BearerAuth`.
//! assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example"));
//! assert!(refused.header("x-request-id").is_some());
//! let response = client.get("/api/numbers").header("Authorization", "Bearer t0ken").send();
//! assert_eq!(response.text(), "1 2 3");
//! ```
//!
//! The module [`layers`](crate::layers) lists all layers of the library.
//!
//! # Where a layer is
//!
//! | added by | is around |
//! |---|---|
//! | [`Router::layer`](crate::Router::layer) | all of a router: its routes, its 404, 405 and redirects. It runs before a route is searched |
//! | the same, of a router that is nested | the routes of that router, and requests below the prefix that have no route |
//! | [`Route::layer`](crate::router::Route::layer) | one route; it sees the parameters of the path |
//! | [`Layered`](crate::layers::Layered) | any handler |
//!
//! A layer that is added first is outside of those that are added later. Layers of an outer router are outside of those of a
//! nested one, and those are outside of the layers of a route. Whether a layer is added before or after a route does not
//! matter.
//!
//! Handlers with `offload` run within the layers: a request that a layer refuses takes no thread of the pool.
//!
//! # Requests with a body
//!
//! A layer calls the handler when the body is there. A handler that takes the body in pieces has all pieces by then. So a
//! layer that protects handlers refuses by the head alone: [`Layer::refuse`], or [`layers::check`](crate::layers::check). All
//! layers of the library do. The body of a request that is refused is not read.
//!
//! # WebSockets
//!
//! A WebSocket handshake goes to `WebSocketHandler::accept_ws` instead of through the layers. Before that, the layers around it may
//! refuse it by [`Layer::refuse`], and the client gets the response of the layer: those of a router with
//! `Router::websocket`, and those of `Layered::new(app)` around any `WebSocketHandler`. What else a layer
//! does, such as fields of the response or what a closure of `layers::from_fn` does, does not apply to a handshake.
//!
//! # Values for handlers
//!
//! A layer hands what it has found out to the handlers within it, by type:
//! [`Request::with_value`](crate::Request::with_value) and [`Request::value`](crate::Request::value). The value goes with the
//! request to the thread pool.
//!
//! ```
//! use peregrine::{Router, layers};
//! use std::sync::Arc;
//!
//! struct User(String);
//!
//! let app = Router::new()
//!     .get("/", |req, res| match req.value::<User>() {
//!         Some(user) => res.text(&user.0),
//!         None => res.status(401).text("who are you?"),
//!     })
//!     .layer(layers::from_fn(|req, res, next| match req.bearer_token() {
//!         Some("t0ken") => req.with_value(Arc::new(User("Ada".to_owned())), |req| next.run(req, res)),
//!         _ => next.run(req, res),
//!     }));
//! # let mut client = peregrine::testing::Client::new(&app);
//! # assert_eq!(client.get("/").header("Authorization", "Bearer t0ken").send().text(), "Ada");
//! # assert_eq!(client.get("/").send().status(), 401);
//! ```
//!
//! # Fields in every response
//!
//! [`Response::header`](crate::Response::header) before `next` sets a field of the handler's response. An error takes it back.
//! [`Response::header_always`](crate::Response::header_always) sets a field that stays:
//!
//! | response | has fields of `header_always` |
//! |---|---|
//! | that of the handler, deferred and streamed ones too | yes; a field of the handler with the same name replaces it |
//! | to the error of a handler, 404, 405 | yes |
//! | 500 after a panic or a response with a fault; 503 of a full pool or of a time limit | yes |
//! | to a body that is too large, and other refusals of the library; `BodyPlan::Refuse` | those that [`Layer::error_fields`] sets, as of [`Cors`], [`SecurityHeaders`] and [`RequestId`]; layers of the nested or mounted router and of the route, too |
//! | 500 after a panic while the body is planned or received | the same |
//! | to a request that is not valid HTTP | those of the outer router that do not need the request |
//! | 101 of a WebSocket | none |
//!
//! On another thread, such as one of the pool, a field of `header_always` stays as well, but it is not there if the time limit of
//! the response passes meanwhile; `Response::timeout` has no effect there.
//!
//! # Pages for errors
//!
//! [`ErrorPages`] gives browsers a page for each error, whether it comes from a handler that returns `Err`, from the router, from
//! a layer within it, or from the library. Other clients get text or JSON, as before. A handler that sends a status of 400 or
//! above itself chooses the body itself. In a debug build, an `Err` with a status of 500 or above has the page of the library with its
//! causes instead.
//!
//! ```
//! use peregrine::layers::ErrorPages;
//! use peregrine::testing::Client;
//! use peregrine::{Done, Router, error::Status};
//!
//! let app = Router::new()
//!     .get("/gone", |_, _| Err::<Done, _>(Status(410)))
//!     .layer(ErrorPages::new(|error, _, res| {
//!         res.html(format!("<!doctype html><h1>{}</h1>", error.title_text()))
//!     }));
//! let mut client = Client::new(&app);
//! let mut page = |path| client.get(path).header("Accept", "text/html").send().text().to_owned();
//! assert_eq!(page("/gone"), "<!doctype html><h1>Gone</h1>");
//! assert_eq!(page("/never-there"), "<!doctype html><h1>Not Found</h1>");
//! ```
//!
//! # Errors
//!
//! | layer | refuses with |
//! |---|---|
//! | `BasicAuth`, `BearerAuth` | 401 with `WWW-Authenticate` |
//! | `Csrf` | 403 |
//! | `RateLimit` | 429 with `Retry-After` |
//! | `Maintenance`, a time limit | 503 with `Retry-After` |
//! | [`layers::check`](crate::layers::check) | what its error says |
//! | `Cors` | never: it leaves its fields out, and browsers do not give the response to the page |
//!
//! # Limits
//!
//! | limit | default | above it |
//! |---|---|---|
//! | `RateLimit::new` | none | 429 with `Retry-After` |
//! | `RateLimit::clients` | 65,536, 16 bytes each | the client that has its whole limit again first is forgotten |
//! | `ETags::max_bytes` | 1 MiB | no tag, and no 304 |
//! | `RequestId::take_over` | 128 bytes of an id | a new id |
//! | `Timeout`, `Route::timeout` | `Limits::response_timeout` | 503 |
//!
//! [`Cors`]: crate::layers::Cors
//! [`ErrorPages`]: crate::layers::ErrorPages
//! [`Layer`]: crate::layers::Layer
//! [`Layer::error_fields`]: crate::layers::Layer::error_fields
//! [`Layer::refuse`]: crate::layers::Layer::refuse
//! [`RequestId`]: crate::layers::RequestId
//! [`SecurityHeaders`]: crate::layers::SecurityHeaders
