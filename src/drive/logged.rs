//! What logs are told of the responses that they do not see for themselves.

use super::{Parts, Service};
use crate::conn::{body_out::BodyOut, http1::Http1, id::ConnId, input::Input, output::Output};
use crate::exchange::{AccessEntry, CLIENT_GONE, tell_quietly};
use crate::handler::Handler;
use crate::request::{Ends, Request};
use std::ops::Deref;

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// The response comes later, or the rest of it.
    pub(super) fn keep_exchange(&mut self, place: ConnId) {
        if let Some(mut exchange) = self.wire.exchange.take() {
            exchange.begin(self.wire.status());
            self.wire.exchanges.insert(place.slot(), exchange);
        }
    }

    /// The head of a response that was deferred is made, and its body follows.
    pub(super) fn begin_exchange(&mut self, status: u16, place: ConnId) {
        if let Some(exchange) = self.wire.exchanges.get_mut(&place.slot()) {
            exchange.begin(status);
        }
    }

    /// The response that was to come is complete: a streamed one if it has no other status.
    pub(super) fn end_exchange(
        &mut self,
        status: Option<u16>,
        body_bytes: u64,
        parts: &mut Parts<'_>,
    ) {
        let Some(exchange) = self.wire.exchanges.remove(&parts.place.slot()) else {
            return;
        };
        match status {
            Some(status) => exchange.complete_with(status, body_bytes, parts.output),
            None => exchange.complete(body_bytes, parts.output),
        }
    }

    /// The rest of a streamed body will never come.
    pub(super) fn cut_exchange(&mut self, body: Option<&BodyOut>, place: ConnId) {
        if let Some(mut exchange) = self.wire.exchanges.remove(&place.slot()) {
            exchange.cut(body.map_or(0, BodyOut::pushed));
        }
    }

    /// The response ends in a panic of the library.
    #[cold]
    pub(crate) fn lose_exchange(&mut self, place: ConnId) {
        // Its log is told by the drop.
        drop(self.wire.exchanges.remove(&place.slot()));
    }

    /// The response has not come in time: a 503 is in the output, or what there is of its body.
    pub(super) fn tell_timeout(
        &mut self,
        body: Option<&BodyOut>,
        body_bytes: u64,
        parts: &mut Parts<'_>,
    ) {
        if body.is_some() {
            return self.cut_exchange(body, parts.place);
        }
        match self.wire.exchanges.remove(&parts.place.slot()) {
            Some(exchange) => exchange.complete_with(503, body_bytes, parts.output),
            None => self.tell(503, body_bytes, parts),
        }
    }

    /// The library has answered by itself.
    #[cold]
    pub(super) fn tell(&self, status: u16, body_bytes: u64, parts: &Parts<'_>) {
        self.tell_of((parts.http1, parts.input), status, body_bytes, parts.ends);
    }

    /// The client has left in the middle of a request, of which there is no entry if that is half a head.
    #[cold]
    pub(super) fn tell_gone(&self, parts: &Parts<'_>) {
        if parts.input.head.is_complete() {
            self.tell(CLIENT_GONE, 0, parts);
        }
    }

    /// The connection is closed with what is left of it.
    #[cold]
    pub(crate) fn leave(&mut self, left: &Left<'_>) {
        if let Some(mut exchange) = self.wire.exchanges.remove(&left.place.slot()) {
            exchange.leave(left.body.map_or(0, |body| body.sent(left.output)));
        }
        if let Some(input) = left.input.filter(|_| left.http1.is_unanswered()) {
            self.tell_of((left.http1, input), CLIENT_GONE, 0, left.ends);
        }
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
            .with_body(body_bytes);
        tell_quietly(|| self.handler.handle_library_response(&entry));
    }
}

/// What a connection leaves behind when it is closed.
pub(crate) struct Left<'a> {
    pub(crate) http1: &'a Http1,
    pub(crate) input: Option<&'a Input>,
    pub(crate) output: Option<&'a Output>,
    pub(crate) body: Option<&'a BodyOut>,
    pub(crate) place: ConnId,
    pub(crate) ends: &'a dyn Ends,
}
