//! `HandlerResult`: what a handler that is a closure may return.

use super::known::{BoxError, of_library};
use super::{HandlerError, Problem, chain};
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use std::error::Error;

/// What a handler that is a closure or function may return: [`Done`], or `Result<Done, E>` with an `E` that is a
/// [`HandlerError`] or [`BoxError`]. No other type has this trait.
///
/// A branch without a response does not compile:
///
/// ```compile_fail
/// # use peregrine::error::Status;
/// let app = peregrine::from_fn(|req, res| -> Result<peregrine::Done, Status> {
///     if req.path() == "/" {
///         return Ok(()); // error: expected `Done`, found `()`
///     }
///     Err(Status(404))
/// });
/// ```
///
/// Neither does a result without a `Done`:
///
/// ```compile_fail
/// # use peregrine::error::Status;
/// # use peregrine::{Request, Response};
/// fn handle(_: &Request<'_>, _: Response<'_>) -> Result<(), Status> {
///     Ok(())
/// }
/// let app = peregrine::from_fn(handle); // error: `Result<(), Status>` is not a `HandlerResult`
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "it returns `Done` or `Result<Done, E>`, where `E` is `peregrine::error::BoxError` or implements `peregrine::error::HandlerError`"
)]
pub trait HandlerResult: sealed::Sealed {
    /// Completes the response. `res` is that which the handler had.
    #[doc(hidden)]
    fn settle(self, req: &Request<'_>, res: Response<'_>) -> Done;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for Done {}
impl<E: HandlerError> sealed::Sealed for Result<Done, E> {}
impl sealed::Sealed for Result<Done, BoxError> {}

impl HandlerResult for Done {
    #[inline(always)]
    fn settle(self, _: &Request<'_>, _: Response<'_>) -> Done {
        self
    }
}

impl<E: HandlerError> HandlerResult for Result<Done, E> {
    #[inline]
    fn settle(self, req: &Request<'_>, res: Response<'_>) -> Done {
        match self {
            Ok(done) => done,
            Err(error) => {
                let is_fault = Problem::of(&error).status() >= 500;
                let report = is_fault.then(|| chain(&error));
                fail(req, res, report, &|res| error.respond(req, res))
            }
        }
    }
}

impl HandlerResult for Result<Done, BoxError> {
    #[inline]
    fn settle(self, req: &Request<'_>, res: Response<'_>) -> Done {
        match self {
            Ok(done) => done,
            Err(error) => fail_boxed(req, res, &*error),
        }
    }
}

#[cold]
#[inline(never)]
fn fail_boxed(
    req: &Request<'_>,
    res: Response<'_>,
    error: &(dyn Error + Send + Sync + 'static),
) -> Done {
    let known = of_library(error);
    let is_fault = known.is_none_or(|error| Problem::of(error).status() >= 500);
    fail(
        req,
        res,
        is_fault.then(|| chain(error)),
        &|res| match known {
            Some(error) => error.respond(req, res),
            None => Problem::new(500).respond_or_debug(req, res, error),
        },
    )
}

/// Takes back what the handler has begun, reports the error, and responds.
#[cold]
#[inline(never)]
fn fail(
    req: &Request<'_>,
    mut res: Response<'_>,
    report: Option<String>,
    respond: &dyn Fn(Response<'_>) -> Done,
) -> Done {
    if let Some(text) = report {
        res.report_failure(text, req.client_addr());
    }
    let Some(log) = res.restart() else {
        return res.left_as_it_is();
    };
    let done = respond(res.reborrow());
    if let Some(entry) = log {
        res.watch(entry, done.known_bytes());
    }
    done
}
