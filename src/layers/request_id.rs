//! Request ids: one value that names a request in all logs.

use super::{Layer, Next};
use crate::http::request::Request;
use crate::http::response::always::REQUEST_ID;
use crate::http::response::{Done, Response};
use crate::shared::random_text;

/// The longest id that is taken over from a client.
const LONGEST: usize = 128;

/// Gives each request an id, in the response field `X-Request-Id`, which is in error responses, too. So what a client reports
/// can be found in the logs. [`Response::request_id`] tells it to handlers.
///
/// [`AccessEntry::request_id`](crate::access_log::AccessEntry::request_id) has it for an access log around the layer.
/// [`Handler::handle_error`](crate::Handler::handle_error) does not get it.
///
/// An id has 32 hexadecimal digits. It is not a secret: the next ones can be guessed from it with effort.
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::RequestId;
///
/// let app = Router::new()
///     .get("/", |_, res| {
///         let id = res.request_id().unwrap_or_default().to_owned();
///         res.text(format!("this is request {id}"))
///     })
///     .layer(RequestId::new());
/// # let response = peregrine::testing::get(&app, "/");
/// # let id = response.header("x-request-id").expect("an id");
/// # assert_eq!(response.text(), format!("this is request {id}"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestId {
    takes_over: bool,
}

impl RequestId {
    /// Each request gets a new id.
    pub fn new() -> RequestId {
        RequestId::default()
    }

    /// Takes over the id that a request has in `X-Request-Id`, if it has 1 to 128 letters, digits, `-`, `_`, `.`, or `:`. It
    /// is for servers behind a proxy that sets this field; clients can choose the id otherwise.
    #[must_use]
    pub fn take_over(mut self) -> RequestId {
        self.takes_over = true;
        self
    }

    fn of_client<'a>(&self, req: &Request<'a>) -> Option<&'a str> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let id = req.header(REQUEST_ID).filter(|_| self.takes_over)?;
        let is_id = (1..=LONGEST).contains(&id.len()) && id.bytes().all(is_valid);
        is_id.then_some(id)
    }
}

impl Layer for RequestId {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        next.run(req, set_id(self.of_client(req), res))
    }

    /// A request that a handler has not seen gets an id too.
    fn error_fields<'r>(&self, req: Option<&Request<'_>>, res: Response<'r>) -> Response<'r> {
        match res.request_id().is_some() {
            true => res,
            false => set_id(req.and_then(|req| self.of_client(req)), res),
        }
    }
}

fn set_id<'r>(of_client: Option<&str>, res: Response<'r>) -> Response<'r> {
    match of_client {
        Some(id) => res.header_always(REQUEST_ID, id),
        None => res.header_always(REQUEST_ID, random_text::unique()),
    }
}
