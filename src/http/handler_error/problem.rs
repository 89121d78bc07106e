//! `Problem`: the description of an error for clients (RFC 9457).

use super::{HandlerError, TYPES, chain, debug_page};
use crate::http::accept;
use crate::http::json_string::push_string;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use peregrine_protocol::http::encode;
use std::borrow::Cow;
use std::error::Error;

/// The description of an error for clients: problem details of RFC 9457. It is an error of a handler itself, and
/// every [`HandlerError`] becomes one.
///
/// By the `Accept` field of the request, the response is `application/problem+json` or one line of
/// `text/plain`. It is text if the client accepts both equally. With [`ErrorPages`](crate::layers::ErrorPages) browsers get a
/// page.
///
/// ```
/// use peregrine::error::Problem;
/// use peregrine::{Done, Request, Response};
///
/// fn handle(_: &Request<'_>, _: Response<'_>) -> Result<Done, Problem> {
///     Err(Problem::new(409).detail("the name is taken").kind("https://api.example/problems/taken"))
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().ends_with(b"\r\n\r\nConflict: the name is taken\n"));
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: application/problem+json\r\n\r\n");
/// # assert!(client.received().ends_with(b"\r\n\r\n{\"type\":\"https://api.example/problems/taken\",\"title\":\"Conflict\",\"status\":409,\"detail\":\"the name is taken\"}"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("RFC 9457", "RFC 7807", "problem+json"))]
pub struct Problem {
    status: u16,
    kind: Option<Cow<'static, str>>,
    title: Option<Cow<'static, str>>,
    detail: Option<Cow<'static, str>>,
    fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl Problem {
    /// A problem with this status, 400 to 599. Any other number becomes 500.
    pub fn new(status: u16) -> Problem {
        Problem {
            status: match status {
                400..=599 => status,
                _ => 500,
            },
            kind: None,
            title: None,
            detail: None,
            fields: Vec::new(),
        }
    }

    /// Sets `type`: a URI that names the kind of the problem (RFC 9457 section 3.1.1). Default: none, which means
    /// `about:blank`.
    #[must_use]
    pub fn kind(self, uri: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            kind: Some(uri.into()),
            ..self
        }
    }

    /// Sets `title`: a short text that is the same for all problems of one kind (section 3.1.3). Default: the reason
    /// phrase of the status.
    #[must_use]
    pub fn title(self, title: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            title: Some(title.into()),
            ..self
        }
    }

    /// Sets `detail`: a text about this problem (section 3.1.4). Clients see it. Default: none.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// Adds a header field to the response, by the rules of [`Response::header`]: `WWW-Authenticate` belongs to 401, `Retry-After`
    /// to 503 (RFC 9110 sections 15.5.2 and 15.6.4). Also a page of [`ErrorPages`](crate::layers::ErrorPages) has it. Default: none.
    ///
    /// ```
    /// use peregrine::error::Problem;
    /// use peregrine::layers::check;
    /// use peregrine::{Request, Router};
    ///
    /// let logged_in = check(|req: &Request<'_>| match req.cookie("session") {
    ///     Some(_) => Ok(()),
    ///     None => Err(Problem::new(401).header("WWW-Authenticate", "Session")),
    /// });
    /// let app = Router::new().get("/", |_, res| res.text("hi")).layer(logged_in);
    /// let response = peregrine::testing::get(&app, "/");
    /// assert_eq!(response.status(), 401);
    /// assert_eq!(response.header("www-authenticate"), Some("Session"));
    /// ```
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Problem {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The problem that describes an error.
    pub(super) fn of<E: HandlerError + ?Sized>(error: &E) -> Problem {
        let problem = Problem::new(error.status());
        match error.detail() {
            Some(detail) => problem.detail(detail),
            None => problem,
        }
    }

    /// The status of the response.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The text of [`Problem::detail`].
    pub fn detail_text(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The title: that of [`Problem::title`], or the reason phrase of the status (RFC 9110 section 15). It is empty for a
    /// status without a reason phrase.
    pub fn title_text(&self) -> &str {
        let title = self.title.as_deref();
        title.unwrap_or_else(|| encode::reason(self.status))
    }

    /// Sends the problem in the form that the client prefers.
    pub fn respond_to(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        // A cache must not give the text to a client that accepts JSON only (RFC 9110 section 12.5.5).
        let mut res = res.status(self.status).header("Vary", "Accept");
        for (name, value) in &self.fields {
            res = res.header(name, &**value);
        }
        if let Some(make_page) = res.take_error_page() {
            if accept::prefers_page(req, &TYPES) {
                return make_page(self, req, res);
            }
        }
        match accept::choose(req, &TYPES) {
            0 => res.text(format!("{self}\n")),
            _ => res.header("Content-Type", TYPES[1]).body(self.json()),
        }
    }

    /// In a debug build the response to a fault of the server has the error, its causes and the request.
    pub(super) fn respond_or_debug<E: Error + ?Sized>(
        self,
        req: &Request<'_>,
        res: Response<'_>,
        error: &E,
    ) -> Done {
        self.respond_with(req, res, cfg!(debug_assertions).then_some(error))
    }

    fn respond_with<E: Error + ?Sized>(
        self,
        req: &Request<'_>,
        res: Response<'_>,
        shown: Option<&E>,
    ) -> Done {
        match shown.filter(|_| self.status >= 500) {
            Some(error) => debug_page::respond(self, &chain(error), req, res),
            None => self.respond_to(req, res),
        }
    }

    fn json(&self) -> String {
        let mut out = String::from("{");
        if let Some(kind) = &self.kind {
            out.push_str("\"type\":");
            push_string(kind, &mut out);
            out.push(',');
        }
        if !self.title_text().is_empty() {
            out.push_str("\"title\":");
            push_string(self.title_text(), &mut out);
            out.push(',');
        }
        out.push_str(&format!("\"status\":{}", self.status));
        if let Some(detail) = &self.detail {
            out.push_str(",\"detail\":");
            push_string(detail, &mut out);
        }
        out.push('}');
        out
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.title_text() {
            "" => write!(f, "status {}", self.status)?,
            title => f.write_str(title)?,
        }
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl Error for Problem {}

impl HandlerError for Problem {
    fn status(&self) -> u16 {
        self.status
    }

    fn detail(&self) -> Option<String> {
        self.detail.as_deref().map(str::to_owned)
    }

    fn respond(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.respond_to(req, res)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Client;

    /// The response to a problem with the cause `disk`, and its fields.
    fn response(status: u16, accept: &str, is_shown: bool) -> (String, Option<String>) {
        let app = crate::from_fn(move |req, res| {
            let error = std::io::Error::other("disk");
            Problem::new(status).respond_with(req, res, is_shown.then_some(&error))
        });
        let mut client = Client::new(&app);
        let response = client.get("/").header("Accept", accept).send();
        assert_eq!(response.status(), status);
        let vary = response.header("vary").map(str::to_owned);
        (response.text().to_owned(), vary)
    }

    #[test]
    fn only_a_debug_build_shows_the_cause_and_only_of_a_fault_of_the_server() {
        for accept in ["*/*", "application/json", "text/html"] {
            assert!(response(500, accept, true).0.contains("disk"), "{accept}");
            for (status, is_shown) in [(500, false), (503, false), (404, true), (404, false)] {
                let (text, _) = response(status, accept, is_shown);
                assert!(!text.contains("disk"), "{accept} {status}: {text}");
            }
        }
    }

    #[test]
    fn the_response_depends_on_accept_and_says_so() {
        for (status, is_shown) in [(404, false), (500, true)] {
            for accept in ["*/*", "application/json", "text/html"] {
                let (_, vary) = response(status, accept, is_shown);
                assert_eq!(vary.as_deref(), Some("Accept"), "{accept} {status}");
            }
        }
    }

    #[test]
    fn a_status_without_a_reason_phrase() {
        assert_eq!(response(499, "*/*", false).0, "status 499\n");
        assert_eq!(
            response(499, "application/json", false).0,
            "{\"status\":499}"
        );
        let problem = Problem::new(499).detail("gone");
        assert_eq!(problem.to_string(), "status 499: gone");
    }
}
