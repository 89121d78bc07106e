//! What stays if an error response replaces a response.
//!
//! Fields, a time limit, and the form of pages for errors.

use super::{Done, Response, ResponseRecorder};
use crate::http::handler_error::Problem;
use crate::http::request::Request;
use crate::shared::output::Output;
use peregrine_protocol::http::{field_block, fields};
use peregrine_protocol::syntax;
use std::sync::Arc;
use std::time::Duration;

/// The field of the id of a request. It stays, so it also tells the id.
pub(crate) const REQUEST_ID: &str = "X-Request-Id";

/// Makes the page for an error.
pub(crate) type MakePage =
    dyn Fn(&Problem, &Request<'_>, Response<'_>) -> Done + Send + Sync + 'static;

/// Makes the pages for errors, if a layer says how.
#[derive(Clone, Default)]
pub(crate) struct ErrorPage(Option<Arc<MakePage>>);

impl std::fmt::Debug for ErrorPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ErrorPage").field(&self.0.is_some()).finish()
    }
}

/// Belongs to the request rather than to one response to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Always {
    /// A block of fields, which are in the response too.
    fields: Vec<u8>,
    /// In place of `Limits::response_timeout`.
    pub(crate) timeout: Option<Duration>,
    page: ErrorPage,
    /// The names of those that another field of the present response has replaced.
    replaced: Vec<Box<str>>,
    /// Whether another response has replaced the first one, so that the fields were written into it.
    is_written: bool,
}

impl<'a> Response<'a> {
    /// Sets a header field, as [`Response::header`] does, that stays if an error response replaces this response: that of a
    /// [`HandlerError`](crate::error::HandlerError), of a panic, of a full pool, of a response that comes too late. It is for
    /// [layers](crate::layers), whose fields have to be in every response.
    ///
    /// A [`Response::header`] of the same name replaces the field, unless it is a list to which both may add, such as
    /// `Vary`, or `Content-Security-Policy`. An error response has it again. (A second [`Response::header`] adds a field to the
    /// first, if both are of a list.) Another thread that sets it on a deferred response sets it for all
    /// errors but a time limit that passes meanwhile.
    ///
    /// ```
    /// use peregrine::error::Status;
    /// use peregrine::{Done, Request, Response};
    ///
    /// fn handle(_: &Request<'_>, res: Response<'_>) -> Result<Done, Status> {
    ///     let _ = res.header_always("X-Served-By", "a");
    ///     Err(Status(404))
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(String::from_utf8_lossy(client.received()).contains("\r\nX-Served-By: a\r\n"));
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Response::header`].
    pub fn header_always(self, name: &str, value: impl AsRef<[u8]>) -> Response<'a> {
        let value = value.as_ref();
        let is_valid = syntax::is_token(name.as_bytes()) && syntax::is_field_value(value);
        if is_valid && !fields::is_of_library(name) {
            let always = self.recorder.always.get_or_insert_default();
            if !always.add(name, value) {
                return self;
            }
        }
        let res = self.header(name, value);
        if let Some(always) = &mut res.recorder.always {
            always.stands(name.as_bytes());
        }
        res
    }

    /// Sets the time in which a response that comes later, or its next piece, has to arrive, in place of
    /// [`Limits::response_timeout`](crate::Limits::response_timeout). The client gets 503 after it. It is checked once a
    /// second. It has no effect on a response that is complete when the handler returns: nothing interrupts a handler. It has none
    /// either if another thread calls it on a deferred response.
    #[must_use = "respond with it"]
    pub fn timeout(self, timeout: Duration) -> Response<'a> {
        self.recorder.always.get_or_insert_default().timeout = Some(timeout);
        self
    }

    /// The id that the layer [`RequestId`](crate::layers::RequestId) has given the request. `None` without it.
    pub fn request_id(&self) -> Option<&str> {
        self.recorder.request_id()
    }
}

impl Response<'_> {
    /// Writes what stays of another response into this one, which has just begun.
    pub(crate) fn with_always(self, always: Option<Box<Always>>) -> Self {
        self.recorder.always = always;
        self.recorder.begin_always(self.output);
        self
    }

    /// Sets how errors become pages.
    pub(crate) fn with_error_page(self, page: &Arc<MakePage>) -> Self {
        let always = self.recorder.always.get_or_insert_default();
        always.page = ErrorPage(Some(page.clone()));
        self
    }

    /// How errors become pages. It is taken out, so that an error of the page itself does not ask for it again.
    pub(crate) fn take_error_page(&mut self) -> Option<Arc<MakePage>> {
        self.recorder.always.as_mut()?.page.0.take()
    }
}

impl Always {
    /// One field.
    pub(crate) fn of(name: &str, value: &str) -> Always {
        let mut always = Always::default();
        always.add(name, value.as_bytes());
        always
    }

    /// Adds a field, and removes others that it replaces. False if it is there already.
    fn add(&mut self, name: &str, value: &[u8]) -> bool {
        let name = name.as_bytes();
        let is_there =
            |field: (&[u8], &[u8])| field.0.eq_ignore_ascii_case(name) && field.1 == value;
        if field_block::fields(&self.fields).any(is_there) {
            return false;
        }
        if !fields::is_shared(name) {
            while let Some(range) = field_block::find(&self.fields, name) {
                self.fields.drain(range);
            }
        }
        field_block::push(name, value, &mut self.fields);
        self.stands(name);
        true
    }

    /// The field of this name in the response is that of [`Response::header_always`].
    fn stands(&mut self, name: &[u8]) {
        self.replaced
            .retain(|own| !own.as_bytes().eq_ignore_ascii_case(name));
    }

    /// Whether a field of this name takes the place of one in the response. It does so once.
    fn replace(&mut self, name: &str) -> bool {
        let mut replaced = self.replaced.iter();
        let may = !fields::is_shared(name.as_bytes())
            && field_block::find(&self.fields, name.as_bytes()).is_some()
            && !replaced.any(|own| own.eq_ignore_ascii_case(name));
        if may {
            self.replaced.push(name.into());
        }
        may
    }
}

impl ResponseRecorder {
    /// The id of the request whose response was begun last.
    pub(crate) fn request_id(&self) -> Option<&str> {
        let always = self.always.as_ref()?;
        std::str::from_utf8(field_block::value(&always.fields, REQUEST_ID)?).ok()
    }

    /// Whether a field of this name replaces one that was set by [`Response::header_always`]. A second one replaces nothing.
    #[inline]
    pub(super) fn replaces_always(&mut self, name: &str) -> bool {
        let always = self.always.as_mut();
        always.is_some_and(|always| always.replace(name))
    }

    /// Writes the fields that stay into a response that has just begun.
    pub(super) fn begin_always(&mut self, output: &mut Output) {
        let Some(mut always) = self.always.take_if(|always| !always.fields.is_empty()) else {
            return;
        };
        self.push_fields(&always.fields, output);
        always.replaced.clear();
        always.is_written = true;
        self.always = Some(always);
    }

    /// Whether this response has replaced another one and has its fields that stay.
    pub(super) fn is_replacement(&self) -> bool {
        self.always.as_ref().is_some_and(|always| always.is_written)
    }

    /// The fields and the time limit of the last request do not belong to the next one.
    #[cold]
    pub(super) fn end_always(&mut self) {
        self.always = None;
    }
}
