//! Applies deferred responses and pieces of streamed bodies to their connection.

use super::exchange::body_of;
use super::{NOT_ANSWERED, Pace, Parts, ResponseFailure, Service};
use crate::http::deferred::streamed_body::{BodyProgress, StreamedBody};
use crate::http::deferred::worker_handle::{DeferredResponse, WorkerCommand};
use crate::http::handler::Handler;
use crate::http::response::error::ResponseError;
use crate::metrics::WorkerCounters;
use crate::runtime::socket::Ends;
use crate::shared::panic_guard::catch;
use crate::shared::timer_heap::TimerHeap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

/// The text of the 503 that is sent instead of a stream of events.
pub(super) const CROWDED: &str = "too many long-lived connections";

/// The state of a body that the connection itself pulls from a source.
pub(super) enum Drawn {
    /// There is no such body.
    Nothing,
    /// The source has more.
    Some,
    /// The source has given no byte. It is asked again after a while.
    Empty,
    /// The body has ended, complete or not.
    All,
}

/// The peer of a timer. A timer belongs to no connection.
struct Nobody;

impl Ends for Nobody {
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Continues a body that the connection pulls from a source, for as long as a turn may take.
    #[inline(never)]
    pub(super) fn draw(&mut self, parts: &mut Parts<'_>) -> Drawn {
        let Some(body) = body_of(parts.exchange).filter(|body| body.is_drawn()) else {
            return Drawn::Nothing;
        };
        let output = &mut *parts.output;
        let before = output.len();
        let mut pace = Pace::default();
        pace.begin(self.limits.turn_time, || true);
        // If the source panics, it is dropped together with the body.
        let progress = catch(|| body.draw(output, || pace.is_over(|| true)));
        match progress {
            // No progress, so the timeout continues.
            Ok(BodyProgress::More) if output.len() == before => Drawn::Empty,
            Ok(progress) => self.advance(progress, parts),
            Err(panic) => {
                let failure = ResponseFailure::Panic(panic);
                self.fail(&failure, parts);
                self.cut(parts);
                Drawn::All
            }
        }
    }

    /// Calls the next timer that is due. False if there is none.
    pub(crate) fn call_timer(
        &self,
        timers: &mut TimerHeap,
        now: Duration,
        counters: &WorkerCounters,
    ) -> bool {
        match timers.call_next(now) {
            None => return false,
            Some(Ok(_)) => {}
            Some(Err(panic)) => {
                counters.panicked(1);
                ResponseFailure::Panic(panic).report(&*self.handler, &Nobody);
            }
        }
        true
    }

    /// Handles a command of another thread for the pending response of this connection.
    pub(crate) fn command(&mut self, command: WorkerCommand, parts: &mut Parts<'_>) {
        let id = parts.exchange.as_ref().and_then(|exchange| exchange.id);
        if id.is_none() || id != command.request() {
            return;
        }
        match command {
            WorkerCommand::Answer(_, late) => self.deliver(late, parts),
            WorkerCommand::Fail(_, error) => self.fail_late(&ResponseFailure::Answer(error), parts),
            WorkerCommand::Panicked(_, panic) => {
                self.fail_late(&ResponseFailure::Panic(panic), parts)
            }
            WorkerCommand::Piece(_, piece) => {
                let len = piece.len();
                let progress = match body_of(parts.exchange) {
                    Some(body) => {
                        body.taken(len);
                        body.push(piece, parts.output)
                    }
                    None => BodyProgress::More,
                };
                // Without a byte the timeout continues.
                if len > 0 {
                    self.advance(progress, parts);
                }
            }
            WorkerCommand::End(_, trailers) => {
                let progress = match body_of(parts.exchange) {
                    Some(body) => body.end(&trailers, parts.output),
                    None => BodyProgress::More,
                };
                self.advance(progress, parts);
            }
            WorkerCommand::Cut(_) => self.cut(parts),
            WorkerCommand::Resume(_, flow) => self.resume(flow, parts),
            WorkerCommand::Timer(_) => {}
        }
    }

    /// Takes a place for a long-lived connection, for a stream of events. False if there is none.
    pub(super) fn can_last(&self, body: &mut StreamedBody) -> bool {
        if body.heartbeat.is_none() {
            return true;
        }
        body.held = self.lasting.hold();
        body.held.is_some()
    }

    fn deliver(&mut self, mut late: DeferredResponse, parts: &mut Parts<'_>) {
        if late.body.as_mut().is_some_and(|body| !self.can_last(body)) {
            parts.counters.answered(503);
            let body_bytes = self.error_response(503, CROWDED, parts);
            self.end_log(Some(503), body_bytes, parts);
            return self.answered(true, parts);
        }
        parts.counters.answered(late.head.status);
        let (status, body_bytes) = (late.head.status, late.body_bytes);
        match self
            .recorder
            .deliver(late, parts.http1.mode(), parts.output)
        {
            Err(close) => {
                self.end_log(Some(status), body_bytes, parts);
                self.answered(close, parts);
            }
            Ok(body) => {
                self.begin_log(status, parts);
                parts.http1.progress(self.now);
                self.begin_body(Some(body), parts);
            }
        }
    }

    /// The rest of a response, if it is known already.
    pub(super) fn begin_body(&mut self, body: Option<Box<StreamedBody>>, parts: &mut Parts<'_>) {
        if let Some(exchange) = parts.exchange {
            exchange.body = body;
        }
        if parts.http1.is_stopping() {
            self.end_events(parts);
        }
    }

    /// Sends a heartbeat on a stream of events that has been silent. False if there is no such stream.
    pub(super) fn beat(&mut self, parts: &mut Parts<'_>) -> bool {
        let body = body_of(parts.exchange);
        let Some(body) = body.filter(|body| body.heartbeat.is_some()) else {
            return false;
        };
        let progress = body.beat(parts.output);
        self.advance(progress, parts);
        true
    }

    /// The server stops: this connection accepts no request after the bytes that it has received, of which
    /// `unread` bytes are not handled yet. Streams of events end here, because they would never end by
    /// themselves.
    pub(crate) fn stop(&mut self, unread: usize, parts: &mut Parts<'_>) {
        parts.http1.stop(unread, self.now);
        self.end_events(parts);
    }

    fn end_events(&mut self, parts: &mut Parts<'_>) {
        let body = body_of(parts.exchange);
        if let Some(body) = body.filter(|body| body.heartbeat.is_some()) {
            let progress = body.end(b"", parts.output);
            self.advance(progress, parts);
        }
    }

    fn fail_late(&mut self, failure: &ResponseFailure, parts: &mut Parts<'_>) {
        self.fail(failure, parts);
        if body_of(parts.exchange).is_some() {
            return self.cut(parts);
        }
        parts.counters.answered(500);
        let body_bytes = self.error_response(500, NOT_ANSWERED, parts);
        self.end_log(Some(500), body_bytes, parts);
        self.answered(true, parts);
    }

    fn advance(&mut self, progress: BodyProgress, parts: &mut Parts<'_>) -> Drawn {
        match progress {
            BodyProgress::More => {
                parts.http1.progress(self.now);
                return Drawn::Some;
            }
            BodyProgress::Complete => {
                let body = body_of(parts.exchange);
                let (close, bytes) = body.map_or((false, 0), |body| (body.close, body.pushed()));
                self.end_log(None, bytes, parts);
                self.answered(close, parts);
            }
            BodyProgress::Broken(error) => {
                self.fail(&ResponseFailure::Answer(ResponseError::Body(error)), parts);
                self.cut(parts);
            }
        }
        Drawn::All
    }

    fn answered(&mut self, close: bool, parts: &mut Parts<'_>) {
        self.end(parts.exchange.take());
        parts.http1.answered(close, parts.input, self.now);
    }

    /// The rest of the response will never be sent. The client must see that something is missing.
    fn cut(&mut self, parts: &mut Parts<'_>) {
        let mut exchange = parts.exchange.take();
        self.cut_log(exchange.as_deref_mut());
        self.end(exchange);
        parts.http1.cut();
    }
}
