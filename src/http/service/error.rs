//! Error responses that the library writes itself.

use super::{Parts, ResponseFailure, Service};
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::response::ErrorContext;
use crate::log::event;
use crate::shared::panic_guard::catch;
use std::ops::Deref;

/// Bytes that the response to an error may have, with its head: clients that do wrong shall not be
/// worth much memory.
const MOST: u64 = 64 << 10;

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Writes the response to an error: the handler's, or if that is none that can be sent, the
    /// library's. Bytes of its body. The connection closes behind it, which is for the caller to see to.
    #[cold]
    #[inline(never)]
    pub(super) fn error_response(&mut self, status: u16, text: &str, parts: &mut Parts<'_>) -> u64 {
        let mode = parts.http1.last_mode();
        let request = Request::of_head(parts.input, parts.ends);
        let error = ErrorContext::new(status, text, request);
        let response = self.recorder.response(mode, parts.output).status(status);
        let handler = &*self.handler;
        match catch(|| handler.error_response(&error, response)) {
            Ok(done) if self.recorder.is_complete_with(status, MOST, parts.output) => {
                return done.body_bytes();
            }
            Ok(_done) => event!(
                Error,
                "Handler::error_response gave no response to {status}"
            ),
            Err(panic) => self.fail(&ResponseFailure::Panic(panic), parts),
        }
        self.recorder.take_back(parts.output);
        error
            .respond(self.recorder.response(mode, parts.output))
            .body_bytes()
    }
}
