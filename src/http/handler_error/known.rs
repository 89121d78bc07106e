//! Errors of the standard library and of this one, as errors of handlers.

use super::HandlerError;
#[cfg(feature = "multipart")]
use crate::forms::multipart::MultipartError;
#[cfg(feature = "multipart")]
use crate::forms::upload::UploadError;
use crate::http::handler_error::Problem;
#[cfg(feature = "json")]
use crate::http::json_body::JsonError;
use crate::http::request::route::ParamError;
use crate::shared::log_error::LogError;
use peregrine_protocol::form::FormError;
use peregrine_protocol::http::encode;
use std::error::Error;
use std::io;

/// Any error. A handler may return `Result<Done, BoxError>`, so that `?` takes the errors of all crates.
///
/// The status is that of [`Status`], [`Problem`] or another error of this library that is in the box. For
/// all others, also for types of users with [`HandlerError`], it is 500.
///
/// ```
/// use peregrine::error::{BoxError, Status};
/// use peregrine::{Done, Request, Response};
///
/// fn handle(req: &Request<'_>, res: Response<'_>) -> Result<Done, BoxError> {
///     let text = req.query("n").ok_or(Status(400))?;
///     let n: u32 = text.parse()?;
///     Ok(res.text(format!("{}", n + 1)))
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /?n=1 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /?n=x HTTP/1.1\r\nHost: a\r\n\r\n");
/// # let received = String::from_utf8_lossy(client.received());
/// # for status in ["200 OK", "400 Bad Request", "500 Internal Server Error"] {
/// #     assert!(received.contains(&format!("HTTP/1.1 {status}\r\n")), "{received}");
/// # }
/// ```
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A status as an error: `Err(Status(404))`. The text for the client is the reason phrase (RFC 9110 section 15).
/// A [`Problem`] has a text of its own.
///
/// A 401 needs the field `WWW-Authenticate`, a 405 `Allow` and a 426 `Upgrade` (RFC 9110 sections 15.5.2, 15.5.6
/// and 15.5.22). Respond with them yourself.
///
/// ```
/// use peregrine::error::Status;
/// use peregrine::{Done, Request, Response};
///
/// fn handle(req: &Request<'_>, res: Response<'_>) -> Result<Done, Status> {
///     let name = req.query("name").ok_or(Status(400))?;
///     Ok(res.text(format!("Hello, {name}!")))
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().ends_with(b"\r\n\r\nBad Request\n"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(
    /// 400 to 599; any other number becomes 500.
    pub u16,
);

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match encode::reason(self.0) {
            "" => write!(f, "status {}", self.0),
            reason => f.write_str(reason),
        }
    }
}

impl Error for Status {}

impl HandlerError for Status {
    fn status(&self) -> u16 {
        self.0
    }

    /// None: the reason phrase says it.
    fn detail(&self) -> Option<String> {
        None
    }
}

impl HandlerError for io::Error {
    fn status(&self) -> u16 {
        match self.kind() {
            io::ErrorKind::NotFound => 404,
            io::ErrorKind::PermissionDenied => 403,
            _ => 500,
        }
    }

    /// None: the text may have a path of the machine.
    fn detail(&self) -> Option<String> {
        None
    }
}

impl HandlerError for FormError {
    fn status(&self) -> u16 {
        FormError::status(*self)
    }
}

impl HandlerError for ParamError {
    fn status(&self) -> u16 {
        404
    }
}

impl HandlerError for LogError {
    fn status(&self) -> u16 {
        match self {
            LogError::Full | LogError::Topics | LogError::Unavailable => 503,
            LogError::TooLarge => 413,
            _ => 500,
        }
    }
}

#[cfg(feature = "json")]
impl HandlerError for JsonError {
    fn status(&self) -> u16 {
        JsonError::status(self)
    }
}

#[cfg(feature = "multipart")]
impl HandlerError for MultipartError {
    fn status(&self) -> u16 {
        MultipartError::status(*self)
    }
}

#[cfg(feature = "multipart")]
impl HandlerError for UploadError {
    fn status(&self) -> u16 {
        UploadError::status(self)
    }
}

/// An error of this library that is in a box.
pub(super) fn of_library<'a>(
    error: &'a (dyn Error + Send + Sync + 'static),
) -> Option<&'a dyn HandlerError> {
    fn is<'a, E: HandlerError + 'static>(
        error: &'a (dyn Error + Send + Sync + 'static),
    ) -> Option<&'a dyn HandlerError> {
        let error = error.downcast_ref::<E>()?;
        Some(error)
    }
    let kinds = [
        is::<Status>,
        is::<Problem>,
        is::<FormError>,
        is::<ParamError>,
        is::<LogError>,
        #[cfg(feature = "json")]
        is::<JsonError>,
        #[cfg(feature = "multipart")]
        is::<MultipartError>,
        #[cfg(feature = "multipart")]
        is::<UploadError>,
    ];
    kinds.iter().find_map(|is| is(error))
}
