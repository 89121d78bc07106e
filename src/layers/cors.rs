//! CORS: lets pages of other origins use responses (WHATWG Fetch, section 3.2).

use super::{Layer, Next};
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use peregrine_protocol::http::origin;
use peregrine_protocol::syntax;
use std::time::Duration;

/// Lets pages of other origins use the responses (CORS, WHATWG Fetch section 3.2).
///
/// A browser asks before it sends requests that a form could not make: by OPTIONS, the preflight. This layer responds to
/// it, before a route is searched. The fields are in error responses, too, so that a page can read them.
///
/// Add it to a router: the layer of a single route does not see a preflight, because no route is for OPTIONS.
///
/// Without [`Cors::origins`] or [`Cors::any_origin`] no page of another origin is allowed. It allows responses to be
/// read. It does not stop requests that a form can make: that is the part of [`Csrf`](crate::layers::Csrf).
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::Cors;
/// use peregrine::testing::Client;
///
/// let cors = Cors::new().origins(["https://app.example"]).methods(["GET", "PUT"]);
/// let app = Router::new().put("/notes/{id}", |_, res| res.text("saved")).layer(cors);
/// let mut client = Client::new(&app);
/// let response = client
///     .request("OPTIONS", "/notes/1")
///     .header("Origin", "https://app.example")
///     .header("Access-Control-Request-Method", "PUT")
///     .send();
/// assert_eq!(response.status(), 204);
/// assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
/// assert_eq!(response.header("access-control-allow-methods"), Some("GET, PUT"));
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    /// `None`: any.
    origins: Option<Vec<String>>,
    methods: Vec<String>,
    /// `None`: those that are asked for.
    headers: Option<Vec<String>>,
    exposed: Vec<String>,
    max_age: Duration,
    credentials: bool,
}

impl Default for Cors {
    fn default() -> Cors {
        Cors::new()
    }
}

impl Cors {
    /// No origin is allowed yet.
    pub fn new() -> Cors {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        Cors {
            origins: Some(Vec::new()),
            methods: methods.map(str::to_owned).into(),
            headers: None,
            exposed: Vec::new(),
            max_age: Duration::from_secs(600),
            credentials: false,
        }
    }

    /// Allows pages of these origins: a scheme, a host, and a port if it is not the default port of the scheme, as
    /// `https://app.example`. `null` stands for pages without an origin. Any page can make such a page, so `null` and
    /// [`Cors::credentials`] exclude each other.
    ///
    /// # Panics
    ///
    /// An entry is not an origin, or it is `null` and [`Cors::credentials`] was called.
    #[must_use]
    #[track_caller]
    pub fn origins<I: IntoIterator<Item: Into<String>>>(mut self, origins: I) -> Cors {
        let mut all = self.origins.take().unwrap_or_default();
        for entry in origins {
            let entry = entry.into();
            assert!(origin::can_be_listed(&entry), "`{entry}` is not an origin");
            all.push(entry);
        }
        self.origins = Some(all);
        self.check_credentials();
        self
    }

    /// Allows pages of all origins. With [`Cors::credentials`] every page that a user visits acts as that user, so they
    /// exclude each other.
    ///
    /// # Panics
    ///
    /// [`Cors::credentials`] was called.
    #[must_use]
    #[track_caller]
    pub fn any_origin(mut self) -> Cors {
        self.origins = None;
        self.check_credentials();
        self
    }

    /// Sets the methods. Default: GET, HEAD, POST, PUT, PATCH and DELETE.
    ///
    /// # Panics
    ///
    /// A method is not a token (RFC 9110 section 5.6.2).
    #[must_use]
    pub fn methods<I: IntoIterator<Item: Into<String>>>(mut self, methods: I) -> Cors {
        self.methods = tokens(methods);
        self
    }

    /// Sets the request fields that a page may set. Default: all that it asks for.
    ///
    /// # Panics
    ///
    /// A name is not a token (RFC 9110 section 5.6.2).
    #[must_use]
    pub fn headers<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> Cors {
        self.headers = Some(tokens(names));
        self
    }

    /// Sets the response fields that a page may read, beside those that are always readable. Default: none.
    ///
    /// # Panics
    ///
    /// A name is not a token (RFC 9110 section 5.6.2).
    #[must_use]
    pub fn expose<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> Cors {
        self.exposed = tokens(names);
        self
    }

    /// Sets for how long a browser may keep the response to a preflight, in whole seconds. Browsers have limits of
    /// their own, such as two hours. Default: 10 minutes.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Cors {
        self.max_age = max_age;
        self
    }

    /// Lets pages of the origins that are allowed send requests with cookies, and read the responses.
    ///
    /// # Panics
    ///
    /// [`Cors::any_origin`] was called, or `null` is among the origins.
    #[must_use]
    #[track_caller]
    pub fn credentials(mut self) -> Cors {
        self.credentials = true;
        self.check_credentials();
        self
    }

    /// With credentials, a page of any origin would act as the user that visits it.
    #[track_caller]
    fn check_credentials(&self) {
        if self.credentials {
            let origins = self.origins.as_ref();
            let origins = origins.expect("credentials need a list of origins");
            let is_null = origins.iter().any(|own| own == origin::NULL);
            assert!(!is_null, "credentials exclude the origin `null`");
        }
    }

    /// The value of `Access-Control-Allow-Origin`. If any origin is allowed it does not depend on the request, so that a cache
    /// may give the response to all of them.
    fn allowed<'a>(&self, req: &Request<'a>) -> Option<&'a [u8]> {
        let Some(origins) = &self.origins else {
            return Some(b"*");
        };
        let mut sent = req.header_all("origin");
        let own = match (sent.next(), sent.next()) {
            (Some(own), None) => own,
            _ => return None,
        };
        let mut listed = origins.iter();
        listed
            .any(|listed| origin::is_listed(own, listed))
            .then_some(own)
    }

    fn set_on<'r>(&self, req: &Request<'_>, res: Response<'r>) -> Response<'r> {
        // A cache must not give the response for one origin to another one.
        let res = match &self.origins {
            Some(_) => res.header_always("Vary", "Origin"),
            None => res,
        };
        let Some(origin) = self.allowed(req) else {
            return res;
        };
        let mut res = res.header_always("Access-Control-Allow-Origin", origin);
        if self.credentials {
            res = res.header_always("Access-Control-Allow-Credentials", "true");
        }
        if !self.exposed.is_empty() {
            res = res.header_always("Access-Control-Expose-Headers", self.exposed.join(", "));
        }
        res
    }

    fn respond_to_preflight(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let res = self.set_on(req, res).status(204);
        let res = res.header("Vary", "Access-Control-Request-Method");
        let res = res.header("Vary", "Access-Control-Request-Headers");
        if self.allowed(req).is_none() {
            return res.body("");
        }
        let asked = || {
            req.header("access-control-request-headers")
                .map(str::to_owned)
        };
        let headers = self.headers.as_ref().map(|names| names.join(", "));
        let mut res = res
            .header("Access-Control-Allow-Methods", self.methods.join(", "))
            .header("Access-Control-Max-Age", self.max_age.as_secs().to_string());
        if let Some(headers) = headers.or_else(asked).filter(|names| !names.is_empty()) {
            res = res.header("Access-Control-Allow-Headers", headers);
        }
        res.body("")
    }
}

impl Layer for Cors {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        let has = |name: &str| req.header_all(name).next().is_some();
        if req.method() == "OPTIONS" && has("origin") && has("access-control-request-method") {
            return self.respond_to_preflight(req, res);
        }
        next.run(req, self.set_on(req, res))
    }

    fn error_fields<'r>(&self, req: Option<&Request<'_>>, res: Response<'r>) -> Response<'r> {
        match req {
            Some(req) => self.set_on(req, res),
            None => res,
        }
    }
}

#[track_caller]
fn tokens<I: IntoIterator<Item: Into<String>>>(tokens: I) -> Vec<String> {
    let tokens: Vec<String> = tokens.into_iter().map(Into::into).collect();
    for token in &tokens {
        assert!(
            syntax::is_token(token.as_bytes()),
            "`{token}` is not a token"
        );
    }
    tokens
}
