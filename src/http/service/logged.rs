//! Writes access-log entries of responses that did not come from the handler at once.

use super::{Exchange, ExchangeContext, Service};
use crate::http::access_entry::{AccessEntry, CLIENT_GONE, tell_quietly};
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::runtime::socket::Ends;
use peregrine_protocol::Seconds;
use std::ops::Deref;
use std::time::Duration;

impl Exchange {
    /// The head of a deferred response is complete, and its body follows.
    pub(super) fn begin_log(&mut self, status: u16) {
        if let Some(entry) = &mut self.log {
            entry.begin(status);
        }
    }

    /// The rest of a streamed body will never be sent.
    pub(super) fn cut_log(&mut self) {
        if let Some(mut entry) = self.log.take() {
            entry.cut(self.body().map_or(0, |body| body.pushed()));
        }
    }
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// The library has responded itself.
    #[cold]
    pub(crate) fn tell(&self, status: u16, body_bytes: u64, cx: &ExchangeContext<'_>) {
        // The response that was made last is this one.
        let entry = AccessEntry::of(cx.request, cx.ends, status)
            .with_body(Some(body_bytes))
            .with_id(self.recorder.request_id());
        self.tell_entry(entry, cx.since);
    }

    /// The connection is closed before the response is complete. So many bytes are unsent.
    #[cold]
    pub(crate) fn leave(&mut self, place: &mut Option<Box<Exchange>>, unsent: u64) {
        self.end_id(place);
        if let Some(exchange) = place {
            if let Some(mut entry) = exchange.log.take() {
                entry.leave(exchange.body().map_or(0, |body| body.sent(unsent)));
            }
            #[cfg(feature = "websocket")]
            if let Some(handshake) = exchange.handshake.take() {
                handshake.end(&*self.handler, CLIENT_GONE, Some(0));
            }
        }
        self.end(place);
    }

    /// If the exchange waits for the decision about a handshake: this response is the decision. False if it does not.
    #[inline]
    pub(super) fn tell_decided(
        &self,
        status: u16,
        body_bytes: Option<u64>,
        cx: &mut ExchangeContext<'_>,
    ) -> bool {
        #[cfg(feature = "websocket")]
        if let Some(handshake) = cx.exchange.as_mut().and_then(|e| e.handshake.take()) {
            handshake.end(&*self.handler, status, body_bytes);
            return true;
        }
        let _ = (status, body_bytes, cx);
        false
    }

    /// The client has closed in the middle of this request, which has no response.
    #[cold]
    pub(crate) fn tell_gone(&self, request: Option<Request<'_>>, since: Seconds, ends: &dyn Ends) {
        self.tell_unanswered(CLIENT_GONE, request, since, ends);
    }

    /// A request has no response, but a line with this status in the log.
    #[cold]
    pub(crate) fn tell_unanswered(
        &self,
        status: u16,
        request: Option<Request<'_>>,
        since: Seconds,
        ends: &dyn Ends,
    ) {
        self.tell_entry(AccessEntry::of(request, ends, status), since);
    }

    fn tell_entry(&self, entry: AccessEntry<'_>, since: Seconds) {
        let took = Duration::from_secs(self.now.since(since).into());
        let entry = entry.took_for(took);
        tell_quietly(|| self.handler.handle_library_response(&entry));
    }
}
