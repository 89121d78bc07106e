//! `RouteList`: the routes of a router, as a page and as JSON.

use super::Router;
use super::route::Route;
use crate::http::accept;
use crate::http::handler::Handler;
use crate::http::html::Escaped;
use crate::http::json_string::push_string;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use std::fmt::Write as _;
use std::panic::Location;

/// A route of a [`RouteList`].
#[derive(Clone, Debug)]
pub struct RouteInfo {
    host: Option<String>,
    method: Option<String>,
    pattern: String,
    place: &'static Location<'static>,
}

impl RouteInfo {
    fn new(host: Option<&str>, route: &Route) -> RouteInfo {
        RouteInfo {
            host: host.map(str::to_owned),
            method: route.method.as_deref().map(str::to_owned),
            pattern: route.pattern.clone(),
            place: route.place,
        }
    }

    /// The host of [`Router::host`](crate::Router::host).
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The method; `None`: all methods.
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// The whole pattern.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Where the route was made in the source.
    pub fn place(&self) -> &'static Location<'static> {
        self.place
    }
}

/// The routes of a router, sorted by host, pattern and method; [`Router::routes`](crate::Router::routes) makes it.
///
/// It is a handler too: it responds with JSON if the client prefers that to HTML, otherwise with a page. The places in the source
/// are in both, so do not show them to everyone.
///
/// ```
/// use peregrine::Router;
///
/// let app = Router::new().get("/users/{id}", |_, res| res.text("a user"));
/// let routes = app.routes();
/// assert_eq!(routes.as_slice()[0].pattern(), "/users/{id}");
/// let app = app.mount("/debug/routes", routes);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /debug/routes/ HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
/// # assert!(client.take_received().ends_with(b"}]"));
/// # client.send(b"GET /debug/routes/ HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.take_received().ends_with(b"</table>\n"));
/// ```
#[derive(Clone, Debug)]
pub struct RouteList(Vec<RouteInfo>);

impl RouteList {
    pub(super) fn new(mut routes: Vec<RouteInfo>) -> RouteList {
        routes.sort_by(|a, b| {
            let key = |route: &RouteInfo| {
                (
                    route.host.clone(),
                    route.pattern.clone(),
                    route.method.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        RouteList(routes)
    }

    /// The routes.
    pub fn as_slice(&self) -> &[RouteInfo] {
        &self.0
    }

    /// A JSON array with an object for each route: `host` and `method`, which may be null, `pattern` and `place`.
    pub fn json(&self) -> String {
        let mut out = String::from("[");
        for (at, route) in self.0.iter().enumerate() {
            out.push_str(if at > 0 { ",{" } else { "{" });
            for (name, value) in [("host", route.host()), ("method", route.method())] {
                let _ = write!(out, "\"{name}\":");
                match value {
                    Some(value) => push_string(value, &mut out),
                    None => out.push_str("null"),
                }
                out.push(',');
            }
            out.push_str("\"pattern\":");
            push_string(&route.pattern, &mut out);
            out.push_str(",\"place\":");
            push_string(&route.place.to_string(), &mut out);
            out.push('}');
        }
        out.push(']');
        out
    }

    /// A page with a table of the routes.
    pub fn html(&self) -> String {
        let mut page = String::from(
            "<!doctype html><meta charset=utf-8><title>Routes</title><style>body{font:16px/1.5 system-ui;margin:2em}\
             td,th{padding:.1em 1em .1em 0;text-align:left}</style><h1>Routes</h1>\n\
             <table><tr><th>Host<th>Method<th>Pattern<th>Source\n",
        );
        for route in &self.0 {
            let _ = writeln!(
                page,
                "<tr><td>{}<td>{}<td><code>{}</code><td>{}",
                Escaped(route.host().unwrap_or("")),
                Escaped(route.method().unwrap_or("all")),
                Escaped(&route.pattern),
                Escaped(&route.place.to_string()),
            );
        }
        page.push_str("</table>\n");
        page
    }
}

impl Router {
    pub(super) fn list(&self, host: Option<&str>, routes: &mut Vec<RouteInfo>) {
        for endpoint in self.leaves.iter().flat_map(|leaf| &leaf.endpoints) {
            routes.push(RouteInfo::new(host, &endpoint.route));
        }
        for (host, router) in &self.hosts {
            router.list(Some(host), routes);
        }
    }
}

impl Handler for RouteList {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match accept::choose(req, &["text/html", "application/json"]) {
            0 => res.html(self.html()),
            _ => res
                .header("Content-Type", "application/json")
                .body(self.json()),
        }
    }
}
