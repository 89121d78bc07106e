//! CSRF: requests that a page of another origin makes with the rights of a user.

use super::{Layer, refusal};
use crate::http::handler_error::Problem;
use crate::http::request::Request;
use crate::http::request_body::Respond;
use peregrine_protocol::http::origin;

/// Refuses requests that a page of another origin has made with the rights of a user (cross-site request forgery). It needs
/// no token and no state: browsers tell by `Sec-Fetch-Site` and `Origin` which page has made a request.
///
/// | request | |
/// |---|---|
/// | GET, HEAD, OPTIONS, TRACE | goes on: a handler must not change anything for them |
/// | `Sec-Fetch-Site: same-origin` or `none` | goes on |
/// | `Sec-Fetch-Site` of another value, or twice | 403, unless `Origin` is in [`Csrf::origins`] |
/// | only `Origin`, of the host of the request | goes on; see [`Request::is_same_origin`]. Not `http` if the request came by `https` ([`Request::scheme`]) |
/// | only `Origin`, of another one | 403, unless it is in [`Csrf::origins`] |
/// | neither: not a browser, or one of before 2020 without `Origin` | goes on |
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::Csrf;
/// use peregrine::testing::Client;
///
/// let app = Router::new().post("/transfer", |_, res| res.text("done")).layer(Csrf::new());
/// let mut client = Client::new(&app);
/// let response = client.post("/transfer").header("Sec-Fetch-Site", "cross-site").send();
/// assert_eq!(response.status(), 403);
/// assert_eq!(client.post("/transfer").header("Sec-Fetch-Site", "same-origin").send().text(), "done");
/// ```
#[derive(Clone, Debug, Default)]
#[doc(alias = "CrossOriginProtection")]
pub struct Csrf {
    origins: Vec<String>,
}

impl Csrf {
    /// Only pages of the server's own origin may make requests.
    pub fn new() -> Csrf {
        Csrf::default()
    }

    /// Pages of these origins may make requests too: a scheme, a host, and a port if it is not the default port of the
    /// scheme, as `https://app.example`.
    ///
    /// # Panics
    ///
    /// An entry is not an origin, or it is `null`: any page can make requests with this origin.
    #[must_use]
    #[track_caller]
    pub fn origins<I: IntoIterator<Item: Into<String>>>(mut self, origins: I) -> Csrf {
        for entry in origins {
            let entry = entry.into();
            assert!(origin::can_be_listed(&entry), "`{entry}` is not an origin");
            assert!(entry != origin::NULL, "any page can have the origin `null`");
            self.origins.push(entry);
        }
        self
    }

    fn is_own(&self, req: &Request<'_>) -> bool {
        if matches!(req.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE") {
            return true;
        }
        let mut sites = req.header_all("sec-fetch-site");
        let is_own = match (sites.next(), sites.next()) {
            (None, _) => req.is_same_origin() && !is_insecure_page(req),
            (Some(b"same-origin" | b"none"), None) => true,
            _ => false,
        };
        is_own || self.is_listed(req)
    }

    fn is_listed(&self, req: &Request<'_>) -> bool {
        let mut origins = req.header_all("origin");
        match (origins.next(), origins.next()) {
            (Some(own), None) => self
                .origins
                .iter()
                .any(|listed| origin::is_listed(own, listed)),
            _ => false,
        }
    }
}

/// A page without TLS asks a server with TLS: the page can have been changed on the way.
fn is_insecure_page(req: &Request<'_>) -> bool {
    let is_http = |origin: &[u8]| {
        let scheme = origin.get(..5);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http:"))
    };
    req.scheme() == "https" && req.header_all("origin").any(is_http)
}

impl Layer for Csrf {
    fn refuse(&self, req: &Request<'_>) -> Option<Respond> {
        match self.is_own(req) {
            true => None,
            false => refusal(Problem::new(403).detail("the request comes from another site")),
        }
    }
}
