//! `ResponseError`: why a response cannot be sent.

use crate::http::cookie::error::CookieError;
use std::io;

/// Why the response of a handler cannot be sent. The client gets 500 instead, and
/// [`Handler::handle_error`](crate::Handler::handle_error) is called.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResponseError {
    /// The status is not in 200..=599.
    Status(u16),
    /// The status of [`Response::redirect`](crate::Response::redirect) is not one of a redirect.
    Redirect(u16),
    /// The location of [`Response::redirect_local`](crate::Response::redirect_local) could lead to another host.
    Location,
    /// The name of a header field is not a token (RFC 9110 section 5.1).
    HeaderName,
    /// The value of a header field has a control byte (RFC 9110 section 5.5). This check prevents that text
    /// of users adds header fields or whole responses.
    HeaderValue,
    /// A cookie that browsers would ignore.
    Cookie(CookieError),
    /// The closure of [`Response::write_with`](crate::Response::write_with) failed.
    Write(io::Error),
    /// The handler returned without a response to this request. Its [`Done`](crate::Done) belongs to another
    /// request.
    Missing,
    /// The [`Responder`](crate::Responder) of a deferred response was dropped unused, or its closure
    /// panicked.
    Abandoned,
    /// A streamed body could not be completed, for this reason. The connection was closed.
    Body(io::Error),
}

impl std::fmt::Display for ResponseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ResponseError::Status(status) => write!(f, "{status} is not the status of a response"),
            ResponseError::Redirect(status) => {
                write!(f, "{status} is not the status of a redirect")
            }
            ResponseError::Location => f.write_str("the location could lead to another host"),
            ResponseError::HeaderName => f.write_str("malformed header field name"),
            ResponseError::HeaderValue => f.write_str("control byte in a header field value"),
            ResponseError::Cookie(error) => error.fmt(f),
            ResponseError::Write(error) => write!(f, "the body could not be written: {error}"),
            ResponseError::Missing => f.write_str("the handler did not respond"),
            ResponseError::Abandoned => f.write_str("the deferred response was never sent"),
            ResponseError::Body(error) => write!(f, "the body was not completed: {error}"),
        }
    }
}

impl std::error::Error for ResponseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ResponseError::Write(error) | ResponseError::Body(error) => Some(error),
            ResponseError::Cookie(error) => Some(error),
            _ => None,
        }
    }
}
