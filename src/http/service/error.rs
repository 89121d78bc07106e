//! Error responses that the library writes itself.

use super::{ExchangeContext, ResponseFailure, Service};
use crate::http::connection_error::ConnectionError;
use crate::http::handler::Handler;
use crate::http::response::ErrorContext;
use crate::http::response::always::Always;
use crate::log::event;
use crate::shared::panic_guard::catch;
use peregrine_protocol::error::ProtocolError;
use peregrine_protocol::http::exchange::ResponseContext;
use std::ops::Deref;

/// The most bytes of an error response, with its head. Clients that cause errors must not cost much memory.
const MOST: u64 = 64 << 10;

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Writes the response to an error: that of the handler, or that of the library if the handler's cannot
    /// be sent. Returns the bytes of its body. The caller closes the connection after it.
    #[cold]
    #[inline(never)]
    pub(crate) fn error_response(
        &mut self,
        status: u16,
        text: &str,
        cx: &mut ExchangeContext<'_>,
    ) -> u64 {
        let always = cx.exchange.as_mut().and_then(|e| e.always.take());
        self.error_response_with(status, text, always, cx)
    }

    /// As [`Service::error_response`], with what stays of the response that it replaces.
    #[cold]
    pub(super) fn error_response_with(
        &mut self,
        status: u16,
        text: &str,
        always: Option<Box<Always>>,
        cx: &mut ExchangeContext<'_>,
    ) -> u64 {
        let mode = ResponseContext {
            persistent: false,
            ..cx.mode
        };
        self.respond_to_error(mode, (status, text), always, cx)
    }

    /// Records the response to a request that is refused.
    pub(crate) fn refuse_with(&mut self, error: ProtocolError, cx: &mut ExchangeContext<'_>) {
        let body_bytes = self.error_response(error.status(), error.text(), cx);
        self.tell_refused(error, body_bytes, cx);
    }

    /// The response to a refused request is in the output: counts and reports it.
    #[cold]
    pub(super) fn tell_refused(
        &self,
        error: ProtocolError,
        body_bytes: u64,
        cx: &mut ExchangeContext<'_>,
    ) {
        cx.counters.refused_with(error.status());
        self.report(&ConnectionError::Refused(error), cx.ends);
        self.tell(error.status(), body_bytes, cx);
    }

    #[cold]
    pub(super) fn respond_to_error(
        &mut self,
        mode: ResponseContext,
        (status, text): (u16, &str),
        always: Option<Box<Always>>,
        cx: &mut ExchangeContext<'_>,
    ) -> u64 {
        let error = ErrorContext::new(status, text, cx.request);
        let response = self.recorder.response_for(mode, cx.output);
        let response = response.with_always(always.clone()).status(status);
        let handler = &*self.handler;
        match catch(|| handler.error_response(&error, response)) {
            Ok(done) if self.recorder.is_complete_with(status, MOST, cx.output) => {
                return done.known_bytes();
            }
            Ok(_done) => event!(
                Error,
                "Handler::error_response gave no response to {status}"
            ),
            Err(panic) => self.fail(&ResponseFailure::Panic(panic), cx),
        }
        self.recorder.take_back(cx.output);
        let response = self.recorder.response_for(mode, cx.output);
        let response = response.with_always(always);
        error.respond_as_text(response).known_bytes()
    }
}
