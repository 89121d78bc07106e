//! Writes access-log entries of responses that did not come from the handler at once.

use super::{Exchange, Parts, Service};
use crate::http::access_entry::{AccessEntry, CLIENT_GONE, tell_quietly};
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::runtime::socket::Ends;
use crate::shared::output::Output;
use peregrine_protocol::h1::connection::Http1;
use peregrine_protocol::h1::read_buf::Input;
use std::ops::Deref;

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// The response, or the rest of it, comes later.
    pub(super) fn keep(&mut self, parts: &mut Parts<'_>) {
        let (id, log) = (self.recorder.id.take(), self.recorder.log.take());
        let exchange = self.exchange(parts);
        (exchange.id, exchange.log) = (id, log);
        self.begin_log(self.recorder.status(), parts);
    }

    /// The head of a deferred response is complete, and its body follows.
    pub(super) fn begin_log(&mut self, status: u16, parts: &mut Parts<'_>) {
        let exchange = parts.exchange.as_mut();
        if let Some(entry) = exchange.and_then(|exchange| exchange.log.as_mut()) {
            entry.begin(status);
        }
    }

    /// A pending response is complete. Without `status` it is a streamed one.
    pub(super) fn end_log(&mut self, status: Option<u16>, body_bytes: u64, parts: &mut Parts<'_>) {
        let exchange = parts.exchange.as_mut();
        let Some(entry) = exchange.and_then(|exchange| exchange.log.take()) else {
            return;
        };
        match status {
            Some(status) => entry.complete_with(status, body_bytes, parts.output),
            None => entry.complete(body_bytes, parts.output),
        }
    }

    /// The rest of a streamed body will never be sent.
    pub(super) fn cut_log(&mut self, exchange: Option<&mut Exchange>) {
        let Some(Exchange { body, log, .. }) = exchange else {
            return;
        };
        if let Some(mut entry) = log.take() {
            entry.cut(body.as_ref().map_or(0, |body| body.pushed()));
        }
    }

    /// The response did not come in time. The output has a 503, or a part of the body.
    pub(super) fn tell_timeout(
        &mut self,
        exchange: Option<&mut Exchange>,
        body_bytes: u64,
        parts: &mut Parts<'_>,
    ) {
        let is_streaming = exchange.as_ref().is_some_and(|e| e.body.is_some());
        if is_streaming {
            return self.cut_log(exchange);
        }
        match exchange.and_then(|exchange| exchange.log.take()) {
            Some(entry) => entry.complete_with(503, body_bytes, parts.output),
            None => self.tell(503, body_bytes, parts),
        }
    }

    /// The library has responded itself.
    #[cold]
    pub(super) fn tell(&self, status: u16, body_bytes: u64, parts: &Parts<'_>) {
        self.tell_of((parts.http1, parts.input), status, body_bytes, parts.ends);
    }

    /// The client has closed in the middle of a request. An incomplete head has no entry.
    #[cold]
    pub(super) fn tell_gone(&self, parts: &Parts<'_>) {
        if parts.input.head.is_complete() {
            self.tell(CLIENT_GONE, 0, parts);
        }
    }

    /// The connection is closed with these remains.
    #[cold]
    pub(crate) fn leave(&mut self, mut left: Left<'_>) {
        if let Some(Exchange { body, log, .. }) = left.exchange.as_deref_mut() {
            if let Some(mut entry) = log.take() {
                entry.leave(body.as_ref().map_or(0, |body| body.sent(left.output)));
            }
        }
        if let Some(input) = left.input.filter(|_| left.http1.is_unanswered()) {
            self.tell_of((left.http1, input), CLIENT_GONE, 0, left.ends);
        }
        self.end(left.exchange);
    }

    fn tell_of(
        &self,
        (http1, input): (&Http1, &Input),
        status: u16,
        body_bytes: u64,
        ends: &dyn Ends,
    ) {
        let request = Request::of_head(input, ends);
        let entry = AccessEntry::of(request, ends.peer_addr(), status)
            .took_for(http1.waited_for(self.now))
            .with_body(Some(body_bytes));
        tell_quietly(|| self.handler.handle_library_response(&entry));
    }
}

/// The remains of a connection that is closed.
pub(crate) struct Left<'a> {
    pub(crate) http1: &'a Http1,
    pub(crate) input: Option<&'a Input>,
    pub(crate) output: Option<&'a Output>,
    pub(crate) exchange: Option<Box<Exchange>>,
    pub(crate) ends: &'a dyn Ends,
}
