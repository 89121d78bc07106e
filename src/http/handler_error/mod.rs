//! Errors that handlers return, and the responses to them.

mod debug_page;
mod known;
mod problem;
mod result;

pub use known::{BoxError, Status};
pub use problem::Problem;
pub use result::HandlerResult;

use super::request::Request;
use super::response::{Done, Response};
use std::error::Error;

/// An error that a handler may return, so that `?` works in it. The error becomes the response.
///
/// A handler that is a closure or function may return `Result<Done, E>`: that of [`from_fn`](crate::from_fn),
/// of [`Response::offload`], of [`BodyPlan::respond`](crate::BodyPlan::respond), and of a route. `E` is a type
/// with this trait, or [`BoxError`].
///
/// # What happens with an `Err`
///
/// 1. What the handler has begun is taken back: status, header fields, a complete body, a deferred or streamed
///    response. A [`Responder`](crate::Responder) or [`BodySender`](crate::body::BodySender) of it finds no client
///    any more. In a closure of [`Response::offload`] a response that was deferred again or streamed cannot be taken back: the
///    error is reported only.
/// 2. [`HandlerError::respond`] makes the response.
/// 3. If [`HandlerError::status`] is 500 or above,
///    [`Handler::handle_error`](crate::Handler::handle_error) gets the error and its causes as
///    [`ConnectionError::Failed`](crate::error::ConnectionError::Failed), on the thread of the worker.
///
/// # Errors of the library
///
/// | error | status | the client sees its text |
/// |---|---|---|
/// | [`Status`], [`Problem`] | the given one | yes |
/// | [`FormError`](crate::error::FormError) | 413, 415 | yes |
/// | [`ParamError`](crate::error::ParamError) | 404 | yes |
/// | [`LogError`](crate::history::LogError) | 413, 500, 503 | below 500 |
/// | `JsonError` | 400, 413, 415, 422 | yes |
/// | `MultipartError` | 400, 413, 415 | yes |
/// | `UploadError` | that of its `MultipartError`, 500, 507 | below 500 |
/// | [`std::io::Error`] | 404 for `NotFound`, 403 for `PermissionDenied`, 500 | no |
/// | [`BoxError`] | that of an error above in the box, except `io::Error`; else 500 | below 500 |
///
/// In a build with debug assertions the response to an error with status 500 or above has the error, its causes
/// and the request. So a page must not be served to others by such a build.
///
/// # Example
///
/// ```
/// use peregrine::error::{HandlerError, Status};
/// use peregrine::{Done, Request, Response};
///
/// #[derive(Debug)]
/// enum NoteError {
///     NoSuchNote(u64),
///     Database,
/// }
///
/// impl std::fmt::Display for NoteError {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         match self {
///             NoteError::NoSuchNote(id) => write!(f, "there is no note {id}"),
///             NoteError::Database => f.write_str("the database failed"),
///         }
///     }
/// }
///
/// impl std::error::Error for NoteError {}
///
/// impl HandlerError for NoteError {
///     fn status(&self) -> u16 {
///         match self {
///             NoteError::NoSuchNote(_) => 404,
///             NoteError::Database => 500,
///         }
///     }
/// }
///
/// fn find(id: u64) -> Result<String, NoteError> {
///     match id {
///         0 => Err(NoteError::Database),
///         1 => Ok("buy milk".to_owned()),
///         _ => Err(NoteError::NoSuchNote(id)),
///     }
/// }
///
/// fn handle(req: &Request<'_>, res: Response<'_>) -> Result<Done, NoteError> {
///     let id = req.query("id").and_then(|id| id.parse().ok()).unwrap_or(0);
///     Ok(res.text(find(id)?))
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /?id=7 HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
/// # let received = String::from_utf8_lossy(client.received());
/// # assert!(received.starts_with("HTTP/1.1 404 Not Found\r\n"));
/// # assert!(received.ends_with(r#"{"title":"Not Found","status":404,"detail":"there is no note 7"}"#), "{received}");
/// # let _ = Status(404);
/// ```
#[doc(alias("IntoResponse", "ResponseError"))]
pub trait HandlerError: Error {
    /// The status of the response (RFC 9110 section 15), 400 to 599. Default: 500. Any other number becomes 500.
    fn status(&self) -> u16 {
        500
    }

    /// The text for the client. Default: that of `Display` with a status below 500, none above it. So no details
    /// of the server reach the client.
    fn detail(&self) -> Option<String> {
        (self.status() < 500).then(|| self.to_string())
    }

    /// Makes the response. It runs on the thread on which the handler has run. Default: a [`Problem`] of
    /// [`status`](HandlerError::status) and [`detail`](HandlerError::detail), or the debug page.
    fn respond(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        Problem::of(self).respond_or_debug(req, res, self)
    }
}

/// The types of a response to an error, in the order of preference.
const TYPES: [&str; 3] = ["text/plain", "application/problem+json", "application/json"];

/// Bytes of [`chain`]. An error may quote what a client has sent, and its text waits for the worker.
const CHAIN_BYTES: usize = 4096;

/// The text of an error and its causes: `a: b: c`.
fn chain<E: Error + ?Sized>(error: &E) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    // A cause may be the cause of itself.
    for _ in 0..16 {
        let Some(cause) = next else { break };
        let cause_text = cause.to_string();
        // Some errors repeat their cause.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    if text.len() > CHAIN_BYTES {
        let end = (0..=CHAIN_BYTES)
            .rev()
            .find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::chain;
    use std::io::Error;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(chain(&Error::other("é".repeat(2048))).len(), 4096);
        let cut = chain(&Error::other(format!("a{}", "é".repeat(2048))));
        assert_eq!(cut, format!("a{}…", "é".repeat(2047)));
    }
}
