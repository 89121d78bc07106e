//! Pages for errors.

use super::{Layer, Next};
use crate::http::handler_error::Problem;
use crate::http::request::Request;
use crate::http::response::always::MakePage;
use crate::http::response::{Done, Response};
use std::sync::Arc;

/// Gives browsers a page for each error, in one place. Other clients get text or JSON, as without it; see
/// [`Problem`]. A browser is a client that prefers `text/html` in `Accept`.
///
/// | error | |
/// |---|---|
/// | of a handler that returns `Err`, by the default of [`HandlerError::respond`](crate::error::HandlerError::respond) | page |
/// | 404 and 405 of a router, refusals of the layers within this one | page |
/// | of the library, such as 413: [`ErrorContext::respond`](crate::error::ErrorContext::respond) | page, if the request is known and the status is kept |
/// | of a handler that returns `Err` with a status of 500 or above, in a debug build | the page of the library with the causes |
/// | a response that a handler sends, with any status | unchanged |
///
/// `make` gets the error and a response that has its status already. It runs on the thread of the handler, and for errors of the
/// library on a worker, so it must not block. Its response may have another status, such as a redirect to a login form for 401. An
/// error of the page itself becomes text. Of two of these layers the inner one makes the page.
///
/// ```
/// use peregrine::layers::ErrorPages;
/// use peregrine::testing::Client;
/// use peregrine::{Request, Router};
///
/// let pages = ErrorPages::new(|error, _, res| match error.status() {
///     401 => res.redirect(303, "/login"),
///     // `templates` and `Response::render` escape what they print.
///     status => res.html(format!("<!doctype html><h1>{status} {}</h1>", error.title_text())),
/// });
/// let app = Router::new().get("/", |_, res| res.text("hi")).layer(pages);
/// let mut client = Client::new(&app);
/// let page = client.get("/x").header("Accept", "text/html,*/*;q=0.8").send();
/// assert_eq!((page.status(), page.text()), (404, "<!doctype html><h1>404 Not Found</h1>"));
/// assert_eq!(client.get("/x").send().text(), "Not Found\n");
/// ```
#[doc(alias("catcher", "errorhandler", "fallback"))]
pub struct ErrorPages {
    make: Arc<MakePage>,
}

impl ErrorPages {
    /// Pages that `make` makes.
    pub fn new<F>(make: F) -> ErrorPages
    where
        F: Fn(&Problem, &Request<'_>, Response<'_>) -> Done + Send + Sync + 'static,
    {
        ErrorPages {
            make: Arc::new(make),
        }
    }
}

impl Layer for ErrorPages {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        next.run(req, res.with_error_page(&self.make))
    }

    fn error_fields<'r>(&self, _: Option<&Request<'_>>, res: Response<'r>) -> Response<'r> {
        res.with_error_page(&self.make)
    }
}

impl std::fmt::Debug for ErrorPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ErrorPages").finish_non_exhaustive()
    }
}
