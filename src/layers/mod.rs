//! Layers: what is done for many routes, before and after their handlers.
//!
//! A [`Layer`] is around a handler: it responds to a request itself, or calls [`Next::run`]. The
//! [guide](crate::guide::layers) has the first steps.
//!
//! | layer | |
//! |---|---|
//! | [`Cors`] | lets pages of other origins use the responses |
//! | [`SecurityHeaders`] | sets fields that restrict what a browser does with a response |
//! | [`Csrf`] | refuses requests that a page of another origin makes with the rights of a user |
//! | [`ErrorPages`] | gives browsers a page for each error |
//! | [`BasicAuth`], [`BearerAuth`] | let requests pass that have a password or a token |
//! | [`RateLimit`] | limits the requests of an address, or of a key |
//! | [`RequestId`] | gives each request an id |
//! | [`ETags`] | sends 304 if the client has the response already |
//! | [`Timeout`] | limits the time of responses that come later |
//! | [`Maintenance`] | responds with 503 while it is on |

mod auth;
mod cors;
mod csrf;
mod error_pages;
mod etags;
mod maintenance;
mod rate_limit;
mod request_id;
mod security_headers;
mod timeout;
#[cfg(feature = "websocket")]
mod websocket;

pub use auth::{BasicAuth, BearerAuth, is_same_secret};
pub use cors::Cors;
pub use csrf::Csrf;
pub use error_pages::ErrorPages;
pub use etags::ETags;
pub use maintenance::Maintenance;
pub use rate_limit::RateLimit;
pub use request_id::RequestId;
pub use security_headers::SecurityHeaders;
pub use timeout::Timeout;

use crate::http::access_entry::AccessEntry;
use crate::http::connection_error::ConnectionError;
use crate::http::handler::Handler;
use crate::http::handler_error::{HandlerError, HandlerResult, Problem};
use crate::http::request::Request;
use crate::http::request_body::around::Around;
use crate::http::request_body::{BodyPlan, Respond};
use crate::http::response::{Done, ErrorContext, Response};
use std::net::SocketAddr;
use std::sync::Arc;

/// What is around handlers: of all routes of a [`Router`](crate::Router::layer), of one
/// [`Route`](crate::router::Route::layer), or of any handler ([`Layered`]).
///
/// [`from_fn`] makes one from a closure, and [`check`] one that only refuses requests.
///
/// ```
/// use peregrine::layers::{Layer, Next};
/// use peregrine::{Done, Request, Response, Router};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// /// Counts the responses without an error that are complete at once.
/// #[derive(Default)]
/// struct Count(AtomicU64);
///
/// impl Layer for Count {
///     fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
///         let done = next.run(req, res);
///         if !done.is_deferred() && done.status() < 400 {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///         done
///     }
/// }
/// let app = Router::new().get("/", |_, res| res.text("hi")).layer(Count::default());
/// # assert_eq!(peregrine::testing::get(&app, "/").text(), "hi");
/// ```
#[doc(alias("middleware", "filter", "before", "after"))]
pub trait Layer: Send + Sync + 'static {
    /// Responds to a request, or lets the handler do so by [`Next::run`]. It runs on the event loop of a worker, so it must
    /// not block for long.
    ///
    /// The body of a request has been read before, as the handler wants it. **If the handler receives the body in pieces
    /// ([`BodySink`](crate::body::BodySink)), they have reached it already.** So a layer that protects a handler decides in
    /// [`Layer::refuse`].
    ///
    /// Status and fields that are set before `next` are those that the handler begins with;
    /// [`Response::header_always`] sets fields that are in error responses, too. After `next` the head of the response
    /// is written. [`Done`] tells the status, unless the response comes later ([`Done::is_deferred`]): then it is 200 or what was
    /// set before.
    ///
    /// Only layers of a [`Route`](crate::router::Route::layer) and of a nested router know the route
    /// ([`Request::route`]). Layers of the outer router run before it is searched.
    ///
    /// Default: the response of [`Layer::refuse`], or that of the handler.
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        match self.refuse(req) {
            Some(respond) => respond(req, res),
            None => next.run(req, res),
        }
    }

    /// Refuses a request by its head: returns a function that responds. A request with a body is refused before the body is
    /// read, and its connection is closed. For such a request it is called twice: before the body and, by
    /// [`Layer::handle_request`], after it. It is also called for a WebSocket handshake, if the layer is of a [`Layered`] or of
    /// a router with `Router::websocket`.
    ///
    /// Default: `None`, no request is refused.
    fn refuse(&self, req: &Request<'_>) -> Option<Respond> {
        let _ = req;
        None
    }

    /// Sets fields of an error response that the library makes without a call of [`Layer::handle_request`], such as
    /// that to a body that is too large. `req` is `None` if its head is not valid, or is not there any more. Then
    /// layers of a route and of a nested router are not called, because the route is not known.
    ///
    /// Default: none.
    fn error_fields<'r>(&self, req: Option<&Request<'_>>, res: Response<'r>) -> Response<'r> {
        let _ = req;
        res
    }
}

/// The layers within a layer, and the handler within them.
pub struct Next<'a> {
    layers: &'a [Arc<dyn Layer>],
    last: &'a mut dyn FnMut(&Request<'_>, Response<'_>) -> Done,
}

impl Next<'_> {
    /// Responds by the next layer, or by the handler.
    pub fn run(self, req: &Request<'_>, res: Response<'_>) -> Done {
        let Next { layers, last } = self;
        match layers.split_first() {
            Some((first, layers)) => first.handle_request(req, res, Next { layers, last }),
            None => last(req, res),
        }
    }
}

impl std::fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}

/// A closure as a [`Layer`]; [`from_fn`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct FromFn<F>(F);

impl<F, R> Layer for FromFn<F>
where
    F: Fn(&Request<'_>, Response<'_>, Next<'_>) -> R + Send + Sync + 'static,
    R: HandlerResult,
{
    fn handle_request(&self, req: &Request<'_>, mut res: Response<'_>, next: Next<'_>) -> Done {
        let result = (self.0)(req, res.reborrow(), next);
        result.settle(req, res)
    }
}

/// Makes a [`Layer`] from a closure or function: its [`Layer::handle_request`].
///
/// ```
/// use peregrine::{Router, layers};
///
/// let app = Router::new()
///     .get("/", |_, res| res.text("hi"))
///     .layer(layers::from_fn(|req, res, next| next.run(req, res.header("X-Powered-By", "tea"))));
/// # assert_eq!(peregrine::testing::get(&app, "/").header("x-powered-by"), Some("tea"));
/// ```
pub fn from_fn<F, R>(f: F) -> FromFn<F>
where
    F: Fn(&Request<'_>, Response<'_>, Next<'_>) -> R + Send + Sync + 'static,
    R: HandlerResult,
{
    FromFn(f)
}

/// A [`Layer`] that refuses requests; [`check`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct Check<F>(F);

impl<F, E> Layer for Check<F>
where
    F: Fn(&Request<'_>) -> Result<(), E> + Send + Sync + 'static,
    E: HandlerError + Send + 'static,
{
    fn refuse(&self, req: &Request<'_>) -> Option<Respond> {
        let error = (self.0)(req).err()?;
        Some(Box::new(move |req, res| Err(error).settle(req, res)))
    }
}

/// A [`Layer`] that refuses the requests for which `check` returns an error, before their body is read. `check` is called
/// twice for a request with a body.
///
/// ```
/// use peregrine::error::Status;
/// use peregrine::{Router, layers};
///
/// let inside = layers::check(|req| match req.client_addr() {
///     Some(addr) if !addr.ip().is_loopback() => Err(Status(403)),
///     _ => Ok(()),
/// });
/// let app = Router::new().get("/metrics", |_, res| res.text("...")).layer(inside);
/// # assert_eq!(peregrine::testing::get(&app, "/metrics").status(), 200);
/// ```
pub fn check<F, E>(check: F) -> Check<F>
where
    F: Fn(&Request<'_>) -> Result<(), E> + Send + Sync + 'static,
    E: HandlerError + Send + 'static,
{
    Check(check)
}

/// Layers around a handler, the outermost first.
#[derive(Clone, Default)]
pub(crate) struct Layers(Vec<Arc<dyn Layer>>);

impl Layers {
    /// Adds one within the others.
    pub(crate) fn push(&mut self, layer: impl Layer) {
        self.0.push(Arc::new(layer));
    }

    /// Puts others around these.
    pub(crate) fn within(&mut self, others: &Layers) {
        self.0.splice(0..0, others.0.iter().cloned());
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Responds by the first layer, and by `last` within the last one.
    #[inline]
    pub(crate) fn run(
        &self,
        req: &Request<'_>,
        res: Response<'_>,
        last: impl FnOnce(&Request<'_>, Response<'_>) -> Done,
    ) -> Done {
        match self.is_empty() {
            true => last(req, res),
            false => run(&self.0, req, res, last),
        }
    }

    /// The plan for the body of a request: a layer refuses it, or the handler plans.
    pub(crate) fn plan(
        &self,
        req: &Request<'_>,
        inner: impl FnOnce(&Request<'_>) -> BodyPlan,
    ) -> BodyPlan {
        if self.is_empty() {
            return inner(req);
        }
        let mut refused = self.0.iter().enumerate();
        let refused = refused.find_map(|(at, layer)| Some((at, layer.refuse(req)?)));
        let (layers, plan) = match refused {
            Some((at, respond)) => (&self.0[..at], BodyPlan::Respond(respond)),
            None => (&*self.0, inner(req)),
        };
        plan.within(|| Layers(layers.to_vec()))
    }

    /// Whether a layer refuses the request by its head.
    #[cfg(feature = "websocket")]
    pub(crate) fn is_refused(&self, req: &Request<'_>) -> bool {
        self.0.iter().any(|layer| layer.refuse(req).is_some())
    }

    pub(crate) fn error_fields<'r>(
        &self,
        req: Option<&Request<'_>>,
        res: Response<'r>,
    ) -> Response<'r> {
        let layers = self.0.iter();
        layers.fold(res, |res, layer| layer.error_fields(req, res))
    }
}

/// Refuses a request with a problem.
fn refusal(problem: Problem) -> Option<Respond> {
    Some(Box::new(move |req, res| problem.respond_to(req, res)))
}

fn run(
    layers: &[Arc<dyn Layer>],
    req: &Request<'_>,
    mut res: Response<'_>,
    last: impl FnOnce(&Request<'_>, Response<'_>) -> Done,
) -> Done {
    let mut last = Some(last);
    let last = &mut |req: &Request<'_>, res: Response<'_>| match last.take() {
        Some(last) => last(req, res),
        // `Next::run` takes itself, so that it is called once at most.
        None => res.status(500).body(""),
    };
    Next { layers, last }.run(req, res.reborrow())
}

impl Around for Layers {
    fn respond(
        self,
        req: &Request<'_>,
        res: Response<'_>,
        inner: impl FnOnce(&Request<'_>, Response<'_>) -> Done,
    ) -> Done {
        self.run(req, res, inner)
    }
}

/// A handler with layers around it. A [`Router`](crate::Router) has a method of its own.
///
/// If the handler is a `ws::WebSocketHandler`, this is one too. **A WebSocket handshake does not
/// pass the layers.** They may refuse it ([`Layer::refuse`]), as [`BasicAuth`] and [`RateLimit`] do. The response 101 has none of
/// their fields.
///
/// ```
/// use peregrine::layers::{Layered, SecurityHeaders};
///
/// let app = peregrine::from_fn(|_, res| res.html("<h1>Notes</h1>"));
/// let app = Layered::new(app).layer(SecurityHeaders::new());
/// # let response = peregrine::testing::get(&app, "/");
/// # assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
/// ```
#[must_use = "give it to a server"]
pub struct Layered<H> {
    handler: H,
    layers: Layers,
}

impl<H: Handler> Layered<H> {
    /// The handler, with no layer yet.
    pub fn new(handler: H) -> Layered<H> {
        let layers = Layers::default();
        Layered { handler, layers }
    }

    /// Adds a layer within those that are there.
    pub fn layer(mut self, layer: impl Layer) -> Layered<H> {
        self.layers.push(layer);
        self
    }
}

#[deny(clippy::missing_trait_methods)]
impl<H: Handler> Handler for Layered<H> {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let last = |req: &Request<'_>, res: Response<'_>| self.handler.handle_request(req, res);
        self.layers.run(req, res, last)
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        self.layers.plan(req, |req| self.handler.body_plan(req))
    }

    fn takes_special(&self, req: &Request<'_>) -> bool {
        self.handler.takes_special(req)
    }

    fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
        let res = self.layers.error_fields(error.request(), res);
        self.handler.error_response(error, res)
    }

    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        self.handler.handle_error(error, peer);
    }

    fn handle_library_response(&self, entry: &AccessEntry<'_>) {
        self.handler.handle_library_response(entry);
    }

    fn before_wait(&self) {
        self.handler.before_wait();
    }

    fn after_wait(&self) {
        self.handler.after_wait();
    }
}

impl<H> std::fmt::Debug for Layered<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layered").finish_non_exhaustive()
    }
}
