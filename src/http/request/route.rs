//! The route of a request, and the parameters of its path.

use super::Request;
use crate::metrics::routes;
use percent_encoding::percent_decode;
use peregrine_protocol::Span;
use peregrine_protocol::http::Method;
use std::borrow::Cow;
use std::error::Error;
use std::str::FromStr;
use std::sync::OnceLock;

/// The most parameters of a route.
pub(crate) const MAX_PARAMS: usize = 8;

/// A pattern that lives as long as the program.
#[derive(Debug)]
pub(crate) struct RoutePattern {
    pub(crate) text: &'static str,
    /// Its number among the patterns that have had a request, for counters.
    number: OnceLock<usize>,
    /// The names of the parameters, in the order of the path.
    pub(crate) names: Vec<String>,
}

/// Stands for the pattern of a route that is not found yet.
static UNKNOWN: RoutePattern = RoutePattern {
    text: "",
    number: OnceLock::new(),
    names: Vec::new(),
};

impl RoutePattern {
    pub(crate) fn new(text: &'static str, names: Vec<String>) -> RoutePattern {
        let number = OnceLock::new();
        RoutePattern {
            text,
            number,
            names,
        }
    }

    /// A pattern that never gets a request, as that of a router before it is nested, takes no number.
    #[inline]
    pub(crate) fn number(&self) -> usize {
        *self.number.get_or_init(|| routes::register(self.text))
    }
}

/// The route that has matched a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteMatch {
    pub(crate) pattern: &'static RoutePattern,
    /// The parameters, in the head of the request.
    pub(crate) params: [Span; MAX_PARAMS],
    /// Bytes of the path that the handler does not see, because it or its router is mounted.
    pub(crate) skipped: usize,
}

impl RouteMatch {
    /// Before a route is found.
    #[inline]
    pub(crate) fn unknown() -> RouteMatch {
        RouteMatch {
            pattern: &UNKNOWN,
            params: [Span::default(); MAX_PARAMS],
            skipped: 0,
        }
    }
}

impl<'a> Request<'a> {
    /// The pattern of the route that a [`Router`](crate::Router) has found for the request, for example
    /// `/users/{id}`. `None` outside of the handlers of a router. It has few values, so it is suitable for logs and
    /// metrics.
    pub fn route(&self) -> Option<&'static str> {
        self.route.map(|route| route.pattern.text)
    }

    /// The value of a parameter of the route, parsed. `/users/{id}` has the parameter `id`.
    ///
    /// # Errors
    ///
    /// [`ParamError`], which becomes a 404: the route has no such parameter, or its value cannot be parsed as a `T`.
    ///
    /// ```
    /// use peregrine::error::ParamError;
    /// use peregrine::{Done, Request, Response, Router};
    ///
    /// fn show(req: &Request<'_>, res: Response<'_>) -> Result<Done, ParamError> {
    ///     let id: u64 = req.param("id")?;
    ///     Ok(res.text(format!("user {id}")))
    /// }
    /// let app = Router::new().get("/users/{id}", show);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET /users/7 HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.take_received().ends_with(b"\r\n\r\nuser 7"));
    /// # client.send(b"GET /users/x HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.take_received().starts_with(b"HTTP/1.1 404 Not Found\r\n"));
    /// ```
    #[doc(alias("path_param", "PathValue"))]
    pub fn param<T: FromStr>(&self, name: &str) -> Result<T, ParamError> {
        let text = self.param_str(name);
        let value = text.and_then(|text| text.parse().ok());
        value.ok_or_else(|| ParamError(name.into()))
    }

    /// The value of a parameter of the route, percent-decoded once. `None` if the route has no such parameter.
    /// It is never empty. Invalid UTF-8 becomes U+FFFD. A value can have a slash, from `%2F`.
    pub fn param_str(&self, name: &str) -> Option<Cow<'a, str>> {
        let route = self.route?;
        let at = route.pattern.names.iter().position(|own| own == name)?;
        let value = route.params.get(at)?.of(self.bytes);
        Some(percent_decode(value).decode_utf8_lossy())
    }

    /// The same request, in a handler of this route.
    #[inline]
    pub(crate) fn with_route<'b>(&self, route: &'b RouteMatch) -> Request<'b>
    where
        'a: 'b,
    {
        Request {
            route: Some(route),
            ..*self
        }
    }

    /// The class of the method.
    #[inline]
    pub(crate) fn method_class(&self) -> Method {
        self.head.kind
    }

    /// Where the path begins in the head.
    #[inline]
    pub(crate) fn path_start(&self) -> usize {
        self.head.target.path_start()
    }

    /// Bytes of the path that are left out already.
    #[inline]
    pub(crate) fn skipped(&self) -> usize {
        self.route.map_or(0, |route| route.skipped)
    }

    /// Calls `f` with the request without `route.skipped` bytes of its path.
    pub(crate) fn behind<R>(&self, route: &RouteMatch, f: impl FnOnce(&Request<'_>) -> R) -> R {
        let mut head = self.head.clone();
        head.target = head
            .target
            .behind(route.skipped.saturating_sub(self.skipped()));
        f(&Request {
            head: &head,
            route: Some(route),
            ..*self
        })
    }

    /// The path with the part that a mounted handler does not see.
    pub(crate) fn whole_path(&self) -> Cow<'a, str> {
        let skipped = self.skipped();
        let start = self.path_start();
        let before = self.bytes.get(start.saturating_sub(skipped)..start);
        match before.map(String::from_utf8_lossy) {
            Some(before) if skipped > 0 => Cow::Owned(before.into_owned() + self.path()),
            _ => Cow::Borrowed(self.path()),
        }
    }
}

/// A parameter of a route is not there, or its value cannot be parsed; see [`Request::param`]. It becomes a 404,
/// because the path names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError(Box<str>);

impl ParamError {
    /// The name of the parameter.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ParamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the path has no valid `{}`", self.0)
    }
}

impl Error for ParamError {}
