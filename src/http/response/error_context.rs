//! `ErrorContext`: the argument of `Handler::error_response`.

use super::{Done, Response};
use crate::http::accept;
use crate::http::handler_error::Problem;
use crate::http::request::Request;
use peregrine_protocol::field_line;

/// An error to which the library responds without a call of
/// [`Handler::handle_request`](crate::Handler::handle_request); see
/// [`Handler::error_response`](crate::Handler::error_response).
#[derive(Clone, Copy, Debug)]
pub struct ErrorContext<'a> {
    status: u16,
    text: &'a str,
    request: Option<Request<'a>>,
}

impl<'a> ErrorContext<'a> {
    pub(crate) fn new(
        status: u16,
        text: &'a str,
        request: Option<Request<'a>>,
    ) -> ErrorContext<'a> {
        ErrorContext {
            status,
            text,
            request,
        }
    }

    /// The status of the response: 400 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A description of the error for people: one line of English text, without a line end.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The request without its body. `None` if its head is incomplete or malformed, or if the request is not
    /// available any more, as for a deferred response.
    pub fn request(&self) -> Option<&Request<'a>> {
        self.request.as_ref()
    }

    /// Sends the default response: the text as `text/plain`, with `Retry-After: 1` for a 503. Fields that are
    /// set on `res` are kept. With [`ErrorPages`](crate::layers::ErrorPages) browsers get a page, if the request is known.
    pub fn respond(&self, res: Response<'_>) -> Done {
        let mut res = res.status(self.status);
        if let (Some(make_page), Some(req)) = (res.take_error_page(), &self.request) {
            if accept::prefers_page(req, &["text/plain"]) {
                let res = self.with_retry(res);
                let problem = Problem::new(self.status).detail(self.text.to_owned());
                return make_page(&problem, req, res.header("Vary", "Accept"));
            }
        }
        self.respond_as_text(res)
    }

    /// Without [`ErrorPages`](crate::layers::ErrorPages).
    pub(crate) fn respond_as_text(&self, res: Response<'_>) -> Done {
        let res = res
            .status(self.status)
            .default_field(field_line!("Content-Type", "text/plain"));
        let res = self.with_retry(res);
        res.body(format!("{}\n", self.text))
    }

    fn with_retry<'r>(&self, res: Response<'r>) -> Response<'r> {
        match self.status {
            503 => res.default_field(field_line!("Retry-After", "1")),
            _ => res,
        }
    }
}
