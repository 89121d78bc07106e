//! `Router`: a handler that is made of routes.
//!
//! [`Router`] is at the root of the crate. The [guide](crate::guide::routing) has the first steps.

#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod dispatch;
mod endpoint;
mod error;
mod list;
mod offload;
mod pattern;
mod route;
mod tree;
#[cfg(feature = "websocket")]
mod websocket;

pub use error::{PatternFault, RouteError};
pub use list::{RouteInfo, RouteList};
pub use offload::{PerThread, offload, offload_with};
pub use route::Route;
#[cfg(feature = "websocket")]
pub use websocket::WebSocketRouter;

use crate::http::handler::Handler;
use crate::http::handler_error::HandlerResult;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::layers::{Layer, Layers};
use endpoint::{Endpoint, Leaf};
use pattern::Pattern;
use std::panic::Location;
use std::sync::Arc;
use tree::{Piece, Tree};

/// A handler that is made of routes: methods and patterns of paths.
///
/// ```
/// use peregrine::error::BoxError;
/// use peregrine::{Done, Request, Response, Router};
///
/// fn show(req: &Request<'_>, res: Response<'_>) -> Result<Done, BoxError> {
///     let id: u64 = req.param("id")?;
///     Ok(res.text(format!("note {id}")))
/// }
///
/// let notes = Router::new()
///     .get("/", |_, res| res.text("all notes"))
///     .post("/", |req, res| res.status(201).text(format!("{} bytes", req.body().len())))
///     .get("/{id}", show);
/// let app = Router::new()
///     .get("/", |_, res| res.html("<h1>Notes</h1>"))
///     .nest("/api/notes", notes)
///     .not_found(|_, res| res.status(404).text("nothing here\n"));
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /api/notes/7 HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.take_received().ends_with(b"\r\n\r\nnote 7"));
/// # client.send(b"DELETE /api/notes HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(String::from_utf8(client.take_received()).unwrap().contains("\r\nAllow: GET, HEAD, OPTIONS, POST\r\n"));
/// # client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.take_received().ends_with(b"\r\n\r\nnothing here\n"));
/// ```
///
/// # Patterns
///
/// | pattern | matches |
/// |---|---|
/// | `/about` | this path |
/// | `/users/{id}` | one segment, which is not empty |
/// | `/icons/{name}.png`, `/@{user}` | a segment with this text at its end or beginning, and one byte or more |
/// | `/files/{*path}` | the rest of the path, which is not empty |
///
/// A pattern has at most 8 parameters, and a segment at most one. The path is compared as the client has sent it, so
/// `%2F` does not divide a segment, `/A` is not `/a`, and `/%61` is not `/a`. [`Request::param`] decodes the parameters.
///
/// If several patterns match, the most specific one is used: at the first place where they differ, text has precedence over a
/// parameter, a longer text at the beginning of a segment over a shorter one, then a longer text at its end, and a
/// parameter over the rest of the path. If it has no route for the method, the others are tried in this order. The order
/// in which routes are added does not matter.
///
/// # Responses of the router
///
/// | request | response |
/// |---|---|
/// | no pattern matches | 404, or that of [`Router::not_found`] |
/// | patterns match, but none has a route for the method | 405; `Allow` has the methods of all of them |
/// | only patterns with `{*path}` match, without a route for the method | 404: they match nearly everything |
/// | HEAD | that of the route for GET, without its body |
/// | OPTIONS without a route | 204 with the same `Allow` |
///
/// The body of a request without a route is not read.
///
/// A router costs a program without one nothing.
#[must_use = "give it to a server"]
pub struct Router {
    tree: Tree,
    leaves: Vec<Leaf>,
    hosts: Vec<(Box<str>, Router)>,
    not_found: Option<Arc<dyn Handler>>,
    /// Handlers of routes that are not closures, and of mounts. Closures have no hooks.
    handlers: Vec<Arc<dyn Handler>>,
    layers: Layers,
    slash: Slash,
    is_offloaded: bool,
    /// It has no layers and no hosts, and its routes are not offloaded.
    is_simple: bool,
    /// There may be hooks to call.
    is_hooked: bool,
}

/// What the router does with a path whose last slash is missing or too much, if no route matches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slash {
    /// 404: `/a` and `/a/` are different. The default.
    #[default]
    Exact,
    /// 308 to the path that matches, with the query.
    Redirect,
    /// The route of the other path responds.
    Same,
}

/// What a nested router does with requests below its prefix that have no route.
#[derive(Clone)]
struct Scope {
    not_found: Option<Arc<dyn Handler>>,
    layers: Layers,
    pattern: &'static str,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Scope").field(&self.pattern).finish()
    }
}

impl Default for Router {
    fn default() -> Router {
        Router::new()
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])*
        ///
        /// # Panics
        ///
        /// Those of [`Router::route`].
        #[track_caller]
        pub fn $name<F, R>(self, pattern: &str, handler: F) -> Router
        where
            F: Fn(&Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
            R: HandlerResult,
        {
            self.route(Route::$name(pattern, handler))
        })*
    };
}

impl Router {
    /// A router without routes: the response to all requests is 404.
    pub fn new() -> Router {
        Router {
            tree: Tree::new(),
            leaves: Vec::new(),
            hosts: Vec::new(),
            not_found: None,
            handlers: Vec::new(),
            layers: Layers::default(),
            slash: Slash::Exact,
            is_offloaded: false,
            is_simple: true,
            is_hooked: false,
        }
    }

    methods! {
        /// Adds a route for GET, and HEAD.
        get;
        /// Adds a route for POST.
        post;
        /// Adds a route for PUT.
        put;
        /// Adds a route for DELETE.
        delete;
        /// Adds a route for PATCH.
        patch;
        /// Adds a route for all methods for which the pattern has no other route.
        any;
    }

    /// Adds a route with settings of its own.
    ///
    /// # Panics
    ///
    /// The pattern is not valid, or a route with the same pattern and method is there already. The message has the
    /// places of both in the source. [`Router::try_route`] returns an error instead.
    #[track_caller]
    pub fn route(mut self, route: Route) -> Router {
        if let Err(error) = self.add(route) {
            panic!("{error}");
        }
        self
    }

    /// Adds a route.
    ///
    /// # Errors
    ///
    /// The pattern is not valid, or a route with the same pattern and method is there already.
    ///
    /// ```
    /// use peregrine::Router;
    /// use peregrine::router::Route;
    ///
    /// let app = Router::new().get("/users/{id}", |_, res| res.text("a user"));
    /// let error = app.try_route(Route::get("/users/{name}", |_, res| res.text("?"))).err();
    /// assert!(error.expect("a conflict").to_string().contains("`GET /users/{name}`"));
    /// ```
    pub fn try_route(mut self, route: Route) -> Result<Router, RouteError> {
        self.add(route).map(|()| self)
    }

    /// Adds the routes of another router below `prefix`, which may have parameters. The route `/` of the other router is the
    /// prefix itself. Its [`Router::not_found`] responds below the prefix. Its [`Router::slash`] is not used. If two routers are
    /// nested at the same prefix, requests that have no route see the layers and the `not_found` of the first one only.
    ///
    /// # Panics
    ///
    /// Those of [`Router::route`].
    #[track_caller]
    pub fn nest(mut self, prefix: &str, router: Router) -> Router {
        for leaf in router.leaves {
            for Endpoint { mut route, .. } in leaf.endpoints {
                route.pattern = pattern::join(prefix, &route.pattern);
                route.is_offloaded |= router.is_offloaded;
                route.layers.within(&router.layers);
                self = self.route(route);
            }
            if let Some(mut scope) = leaf.scope {
                scope.layers.within(&router.layers);
                self.add_scope(&pattern::join(prefix, scope.pattern), scope);
            }
        }
        let scope = Scope {
            not_found: router.not_found,
            layers: router.layers.clone(),
            pattern: "",
        };
        if scope.not_found.is_some() || !scope.layers.is_empty() {
            let place = prefix.strip_suffix('/').unwrap_or(prefix);
            for below in ["", "/", "/{*rest}"] {
                let below = format!("{place}{below}");
                if !below.is_empty() {
                    self.add_scope(&below, scope.clone());
                }
            }
        }
        for (host, inner) in router.hosts {
            let mut inner = Router::new().nest(prefix, inner);
            inner.is_offloaded = router.is_offloaded;
            inner.layers = router.layers.clone();
            inner.is_simple = false;
            self = self.host(&host, inner);
        }
        self
    }

    /// Gives all requests below `prefix` to a handler, with any method. It sees the rest of the path, with a slash at its
    /// beginning; [`Request::target`] is whole. The prefix itself is redirected (308) to the prefix with a slash at its end, so
    /// that relative links of a page lead below it.
    ///
    /// [`Handler::error_response`] of the handler responds to errors of the library below the prefix, such as 413 for a body that is
    /// too large.
    ///
    /// ```
    /// use peregrine::{Router, from_fn};
    ///
    /// let app = Router::new().mount("/files", from_fn(|req, res| res.text(req.path())));
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET /files/a/b HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.take_received().ends_with(b"\r\n\r\n/a/b"));
    /// # client.send(b"GET /files?q HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(String::from_utf8(client.take_received()).unwrap().contains("\r\nLocation: /files/?q\r\n"));
    /// ```
    ///
    /// # Panics
    ///
    /// Those of [`Router::route`].
    #[track_caller]
    pub fn mount(mut self, prefix: &str, handler: impl Handler) -> Router {
        let place = Location::caller();
        let handler: Arc<dyn Handler> = Arc::new(handler);
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        for below in ["/", "/{*rest}"] {
            let mut route = Route::with(None, &format!("{prefix}{below}"), handler.clone());
            (route.is_mount, route.place) = (true, place);
            // Once for each mount.
            route.has_hooks = below == "/";
            self = self.route(route);
        }
        if prefix.is_empty() {
            return self;
        }
        let mut route = Route::any(prefix, |req, res| dispatch::redirect(req, true, res));
        route.place = place;
        self.route(route)
    }

    /// Gives the requests for a host to another router. If no pattern of it matches the path, the routes without a host are
    /// tried. `host` is a name without a port, or `*.` and a name for all names below it. A name has precedence over a `*`, and a
    /// longer name over a shorter one. Case does not matter.
    ///
    /// ```
    /// use peregrine::Router;
    ///
    /// let app = Router::new()
    ///     .get("/", |_, res| res.text("www"))
    ///     .host("api.example", Router::new().get("/", |_, res| res.text("api")));
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: API.example:8080\r\n\r\n");
    /// # assert!(client.take_received().ends_with(b"\r\n\r\napi"));
    /// # client.send(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n");
    /// # assert!(client.take_received().ends_with(b"\r\n\r\nwww"));
    /// ```
    ///
    /// # Panics
    ///
    /// Those of [`Router::route`], if this host has a router already and their routes conflict.
    #[track_caller]
    pub fn host(mut self, host: &str, router: Router) -> Router {
        let host = host.to_ascii_lowercase();
        let found = self.hosts.iter().position(|(own, _)| **own == *host);
        let inner = found.map(|at| self.hosts.remove(at).1);
        let merged = inner.unwrap_or_default().nest("", router);
        self.hosts.push((host.into(), merged));
        (self.is_simple, self.is_hooked) = (false, true);
        // Names before patterns, and longer ones first.
        self.hosts
            .sort_by_key(|(host, _)| (host.starts_with('*'), usize::MAX - host.len()));
        self
    }

    /// Responds to requests that no pattern matches. Default: 404 with one line of text. The body of the request is not
    /// read. In a router that is nested, it responds below the prefix.
    pub fn not_found<F, R>(mut self, handler: F) -> Router
    where
        F: Fn(&Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
        R: HandlerResult,
    {
        self.not_found = Some(Arc::new(crate::http::handler::from_fn(handler)));
        self
    }

    /// Sets what happens to a path whose last slash is missing or too much. Default: [`Slash::Exact`].
    pub fn slash(mut self, slash: Slash) -> Router {
        self.slash = slash;
        self
    }

    /// Runs the handlers of all routes of this router on threads of the pool, as [`Route::offload`] does; those of nested
    /// routers too. Routes of an outer router are not changed.
    pub fn offload(mut self) -> Router {
        self.is_offloaded = true;
        self.is_simple = false;
        self
    }

    /// Adds a layer around all routes of this router, within the layers that are there. It sees each request before a
    /// route is searched, and so those for which there is none. In a router that is nested, it is around the routes of
    /// that router, and around the responses to requests below the prefix that have no route. Layers of the router of a
    /// [`Router::host`] see only requests for paths that this router has a pattern for, unless it has a
    /// [`Router::not_found`].
    ///
    /// ```
    /// use peregrine::Router;
    /// use peregrine::layers::BasicAuth;
    ///
    /// let admin = Router::new()
    ///     .get("/", |_, res| res.text("settings"))
    ///     .layer(BasicAuth::user("admin", "root", "secret"));
    /// let app = Router::new().get("/", |_, res| res.text("hi")).nest("/admin", admin);
    /// # assert_eq!(peregrine::testing::get(&app, "/").status(), 200);
    /// # assert_eq!(peregrine::testing::get(&app, "/admin").status(), 401);
    /// # assert_eq!(peregrine::testing::get(&app, "/admin/x").status(), 401);
    /// ```
    #[doc(alias("middleware", "wrap", "with"))]
    pub fn layer(mut self, layer: impl Layer) -> Router {
        self.layers.push(layer);
        self.is_simple = false;
        self
    }

    /// The routes that are there now, for a page or a test.
    pub fn routes(&self) -> RouteList {
        let mut routes = Vec::new();
        self.list(None, &mut routes);
        RouteList::new(routes)
    }

    fn add(&mut self, route: Route) -> Result<(), RouteError> {
        let pattern = Pattern::parse(&route.pattern).map_err(|fault| RouteError::Pattern {
            pattern: route.pattern.clone(),
            fault,
            place: route.place,
        })?;
        let leaf = self.leaf(&pattern);
        let others = || leaf.endpoints.iter().filter(|o| o.route.guard.is_none());
        let mut same = others().filter(|other| other.route.method == route.method);
        if let (None, Some(other)) = (&route.guard, same.next()) {
            return Err(RouteError::Conflict {
                method: route.method.as_deref().unwrap_or("*").to_owned(),
                pattern: route.pattern,
                place: route.place,
                other: other.route.pattern.clone(),
                other_place: other.route.place,
            });
        }
        let at = match route.guard {
            Some(_) => leaf.endpoints.len() - others().count(),
            None => leaf.endpoints.len(),
        };
        let hooked = route.has_hooks.then(|| route.handler.clone());
        leaf.insert(at, Endpoint::new(route, pattern));
        self.is_hooked |= hooked.is_some();
        self.handlers.extend(hooked);
        Ok(())
    }

    fn leaf(&mut self, pattern: &Pattern) -> &mut Leaf {
        let (leaf, is_new) = self.tree.insert(&pattern.pieces);
        if is_new {
            self.leaves.push(Leaf {
                is_tail: pattern.pieces.last() == Some(&Piece::Tail),
                ..Leaf::default()
            });
        }
        &mut self.leaves[leaf as usize]
    }

    /// The prefix was checked with the routes; one without routes matters to no request that has a route.
    fn add_scope(&mut self, pattern: &str, scope: Scope) {
        let Ok(pattern) = Pattern::parse(pattern) else {
            return;
        };
        match &mut self.leaf(&pattern).scope {
            Some(own) => own.not_found = own.not_found.take().or(scope.not_found),
            own => {
                let pattern = pattern.text();
                *own = Some(Scope { pattern, ..scope });
            }
        }
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router")
            .field("routes", &self.routes())
            .finish_non_exhaustive()
    }
}
