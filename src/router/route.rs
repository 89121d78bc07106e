//! `Route`: a method, a pattern, a handler, and settings of their own.

use crate::http::handler::{Handler, from_fn};
use crate::http::handler_error::HandlerResult;
use crate::http::request::Request;
use crate::http::request_body::BodyPlan;
use crate::http::response::Response;
use crate::layers::{Layer, Layers, Timeout};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

type Guard = Arc<dyn Fn(&Request<'_>) -> bool + Send + Sync>;
type Plan = Arc<dyn Fn(&Request<'_>) -> BodyPlan + Send + Sync>;

/// A route with settings of its own, for [`Router::route`](crate::Router::route).
///
/// ```
/// use peregrine::Router;
/// use peregrine::router::Route;
///
/// let import = Route::post("/import", |req, res| res.text(format!("{} bytes", req.body().len())))
///     .body_limit(64 << 20)
///     .offload();
/// let app = Router::new().route(import);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"POST /import HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
/// # assert!(client.wait(std::time::Duration::from_secs(60)));
/// # assert!(client.received().ends_with(b"\r\n\r\n2 bytes"));
/// ```
#[derive(Clone)]
#[must_use = "add it to a router"]
pub struct Route {
    /// `None`: all methods.
    pub(super) method: Option<Box<str>>,
    pub(super) pattern: String,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) guard: Option<Guard>,
    pub(super) plan: Option<Plan>,
    pub(super) body_limit: Option<usize>,
    pub(super) layers: Layers,
    pub(super) is_offloaded: bool,
    /// The handler does not see the part of the path before the tail of the pattern.
    pub(super) is_mount: bool,
    /// [`Handler::before_wait`] and [`Handler::after_wait`] are passed on to the handler.
    pub(super) has_hooks: bool,
    pub(super) place: &'static Location<'static>,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $method:expr;)*) => {
        $($(#[$doc])*
        #[track_caller]
        pub fn $name<F, R>(pattern: &str, handler: F) -> Route
        where
            F: Fn(&Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
            R: HandlerResult,
        {
            Route::with($method, pattern, from_fn(handler))
        })*
    };
}

impl Route {
    methods! {
        /// A route for GET. It responds to HEAD too, unless there is a route for HEAD.
        get = Some("GET");
        /// A route for POST.
        post = Some("POST");
        /// A route for PUT.
        put = Some("PUT");
        /// A route for DELETE.
        delete = Some("DELETE");
        /// A route for PATCH.
        patch = Some("PATCH");
        /// A route for all methods for which the pattern has no other route.
        any = None;
    }

    /// A route for any method, also one that no standard defines. Upper and lower case differ.
    #[track_caller]
    pub fn method<F, R>(method: &str, pattern: &str, handler: F) -> Route
    where
        F: Fn(&Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
        R: HandlerResult,
    {
        Route::with(Some(method), pattern, from_fn(handler))
    }

    /// A route to a [`Handler`] that is not a closure. `None` is a route for all methods. The handler decides how a body
    /// is read ([`Handler::body_plan`]), unless this route does.
    #[track_caller]
    pub fn handler(method: Option<&str>, pattern: &str, handler: impl Handler) -> Route {
        Route {
            has_hooks: true,
            ..Route::with(method, pattern, handler)
        }
    }

    #[track_caller]
    pub(super) fn with(method: Option<&str>, pattern: &str, handler: impl Handler) -> Route {
        Route {
            method: method.map(Into::into),
            pattern: pattern.to_owned(),
            handler: Arc::new(handler),
            guard: None,
            plan: None,
            body_limit: None,
            layers: Layers::default(),
            is_offloaded: false,
            is_mount: false,
            has_hooks: false,
            place: Location::caller(),
        }
    }

    /// Nothing but its handler is needed for a request.
    pub(super) fn is_plain(&self) -> bool {
        self.guard.is_none() && self.layers.is_empty() && !self.is_offloaded && !self.is_mount
    }

    /// Uses this route only for requests for which `guard` returns true. For others the search continues, as if
    /// the route was not there. A pattern may have several routes with guards, which are asked in the order in
    /// which they were added, before those without. A guard runs for each request that the pattern matches, and
    /// twice for a request with a body.
    ///
    /// ```
    /// use peregrine::Router;
    /// use peregrine::router::Route;
    ///
    /// let app = Router::new()
    ///     .get("/", |_, res| res.text("page"))
    ///     .route(Route::get("/", |_, res| res.text("old page"))
    ///         .when(|req| req.query("version").as_deref() == Some("1")));
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET /?version=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.take_received().ends_with(b"\r\n\r\nold page"));
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.take_received().ends_with(b"\r\n\r\npage"));
    /// ```
    pub fn when(mut self, guard: impl Fn(&Request<'_>) -> bool + Send + Sync + 'static) -> Route {
        self.guard = Some(Arc::new(guard));
        self
    }

    /// Reads bodies of up to this number of bytes, instead of
    /// [`Limits::body_bytes`](crate::Limits::body_bytes). A longer one gets 413.
    pub fn body_limit(mut self, bytes: usize) -> Route {
        self.body_limit = Some(bytes);
        self
    }

    /// Decides how a body is read, as [`Handler::body_plan`] does. It has precedence over
    /// [`Route::body_limit`].
    pub fn body_plan(
        mut self,
        plan: impl Fn(&Request<'_>) -> BodyPlan + Send + Sync + 'static,
    ) -> Route {
        self.plan = Some(Arc::new(plan));
        self
    }

    /// Runs the handler on a thread of the pool, because it blocks; see [`Response::offload`]. If the pool is full, the
    /// response is 503.
    pub fn offload(mut self) -> Route {
        self.is_offloaded = true;
        self
    }

    /// Adds a layer around the handler of this route, within those of its router and those that are there. It sees the
    /// parameters of the route.
    ///
    /// ```
    /// use peregrine::error::Status;
    /// use peregrine::router::Route;
    /// use peregrine::{Router, layers};
    ///
    /// let own = layers::check(|req| match req.param_str("user").as_deref() {
    ///     Some("ada") => Ok(()),
    ///     _ => Err(Status(403)),
    /// });
    /// let app = Router::new().route(Route::get("/of/{user}", |_, res| res.text("mail")).layer(own));
    /// # assert_eq!(peregrine::testing::get(&app, "/of/ada").text(), "mail");
    /// # assert_eq!(peregrine::testing::get(&app, "/of/bob").status(), 403);
    /// ```
    #[doc(alias = "middleware")]
    pub fn layer(mut self, layer: impl Layer) -> Route {
        self.layers.push(layer);
        self
    }

    /// Sets the time in which a response that comes later has to arrive, in place of
    /// [`Limits::response_timeout`](crate::Limits::response_timeout); see [`Timeout`].
    pub fn timeout(self, time: Duration) -> Route {
        self.layer(Timeout::new(time))
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("method", &self.method)
            .field("pattern", &self.pattern)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
