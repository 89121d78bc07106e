//! Applies deferred responses and pieces of streamed bodies to their exchange.

use super::{ExchangeContext, Outcome, Pace, ResponseFailure, Service, report_panic};
use crate::http::deferred::events::retry_hint;
use crate::http::deferred::streamed_body::{BodyProgress, StreamedBody};
use crate::http::deferred::worker_handle::{DeferredResponse, WorkerCommand};
use crate::http::handler::Handler;
use crate::http::response::always::Always;
use crate::http::response::error::ResponseError;
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::Timing;
use crate::shared::panic_guard::{Panic, catch};
use crate::shared::timer_heap::TimerHeap;
use std::ops::Deref;
use std::time::Duration;

/// The text of the response after a [`ResponseFailure`].
const NO_RESPONSE: &str = "the server could not respond to this request";

/// The text of the 503 that is sent instead of a stream of events.
const CROWDED: &str = "too many long-lived connections";

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// A handler has returned without a complete response. True if the response comes later: the exchange
    /// begins to wait for it. False if an error response is in the output, after which the connection is
    /// closed.
    #[inline(never)]
    pub(crate) fn keep(&mut self, cx: &mut ExchangeContext<'_>) -> bool {
        let mut body = match self.recorder.later() {
            Ok(body) => body,
            Err(error) => {
                self.respond_after_failure(&ResponseFailure::Response(error), cx);
                return false;
            }
        };
        let status = self.recorder.status();
        if body.as_mut().is_some_and(|body| !self.can_last(body)) {
            self.respond_with(503, CROWDED, cx);
            return false;
        }
        if body.is_some() {
            cx.counters.count_status(status);
        }
        let (id, log) = (self.recorder.id.take(), self.recorder.log.take());
        let always = self.recorder.always.take();
        let now = self.now;
        self.is_later = body.is_none();
        let woke = match self.timing {
            Timing::Sampled(woke) if self.is_later => Some(woke),
            _ => None,
        };
        #[cfg(feature = "tracing")]
        let span = self.is_later.then(|| self.keep_span());
        let exchange = self.exchange(cx.exchange);
        exchange.woke = woke;
        #[cfg(feature = "tracing")]
        {
            exchange.span = span;
        }
        (exchange.id, exchange.log) = (id, log);
        (exchange.body, exchange.since) = (body, now);
        exchange.always = always;
        exchange.begin_log(status);
        #[cfg(feature = "websocket")]
        self.keep_handshake(cx);
        true
    }

    /// Sends an error response instead of that of a handler that has panicked.
    #[cold]
    pub(crate) fn respond_after_panic(&mut self, panic: Panic, cx: &mut ExchangeContext<'_>) {
        self.respond_after_failure(&ResponseFailure::Panic(panic), cx);
    }

    #[cold]
    fn respond_after_failure(&mut self, failure: &ResponseFailure, cx: &mut ExchangeContext<'_>) {
        self.fail(failure, cx);
        self.respond_with(500, NO_RESPONSE, cx);
    }

    /// Sends an error response instead of that of the handler, which cannot be sent.
    #[cold]
    fn respond_with(&mut self, status: u16, text: &str, cx: &mut ExchangeContext<'_>) {
        self.recorder.take_back(cx.output);
        let always = self.recorder.always.take();
        let body_bytes = self.error_response_with(status, text, always, cx);
        cx.counters.count_status(status);
        match self.recorder.log.take() {
            Some(entry) => entry.complete_with(status, body_bytes, cx.output),
            None => self.tell(status, body_bytes, cx),
        }
    }

    /// Continues a body that the connection pulls from a source, for as long as a turn may take.
    #[inline(never)]
    pub(crate) fn draw(&mut self, cx: &mut ExchangeContext<'_>) -> Outcome {
        let Some(body) = cx.exchange.as_mut().and_then(|e| e.body.as_deref_mut()) else {
            return Outcome::Unchanged;
        };
        let output = &mut *cx.output;
        let before = output.len();
        let mut pace = Pace::default();
        pace.begin(self.limits.turn_time, || true);
        // If the source panics, it is dropped together with the body.
        let progress = catch(|| body.draw(output, || pace.is_over(|| true)));
        match progress {
            // No progress, so the timeout continues.
            Ok(BodyProgress::More) if output.len() == before => Outcome::Unchanged,
            Ok(progress) => self.advance(progress, cx),
            Err(panic) => {
                self.fail(&ResponseFailure::Panic(panic), cx);
                self.cut(cx)
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
            Some(Err(panic)) => report_panic(&*self.handler, counters, panic),
        }
        true
    }

    /// Handles a command of another thread for this exchange.
    pub(crate) fn command(
        &mut self,
        command: WorkerCommand,
        cx: &mut ExchangeContext<'_>,
    ) -> Outcome {
        match command {
            WorkerCommand::Respond(_, late) => self.deliver(late, cx),
            WorkerCommand::Fail(_, error, always) => {
                self.fail_late(&ResponseFailure::Response(error), always, cx)
            }
            WorkerCommand::Panicked(_, panic, always) => {
                self.fail_late(&ResponseFailure::Panic(panic), always, cx)
            }
            WorkerCommand::Piece(_, piece) => {
                let len = piece.len();
                let body = cx.exchange.as_mut().and_then(|e| e.body.as_deref_mut());
                let progress = match body {
                    Some(body) => {
                        body.taken(len);
                        body.push(piece, cx.output)
                    }
                    None => BodyProgress::More,
                };
                // Without a byte the timeout continues.
                match len {
                    0 => Outcome::Unchanged,
                    _ => self.advance(progress, cx),
                }
            }
            WorkerCommand::End(_, trailers) => self.end_body(&trailers, cx),
            WorkerCommand::Cut(_) => self.cut(cx),
            WorkerCommand::Resume(_, flow) => match cx.exchange {
                Some(exchange) if exchange.has_sink() => Outcome::Sink(flow),
                _ => Outcome::Unchanged,
            },
            WorkerCommand::Run(_, work) => {
                work.run();
                Outcome::Unchanged
            }
            // Only HTTP/1 has them; see `Service::accept`.
            #[cfg(feature = "websocket")]
            WorkerCommand::Accept(..) => Outcome::Unchanged,
            WorkerCommand::Timer(_) | WorkerCommand::Failed(..) => Outcome::Unchanged,
            #[cfg(feature = "http3")]
            WorkerCommand::Datagrams(_) => Outcome::Unchanged,
        }
    }

    /// Takes a place for a long-lived connection, for a stream of events. False if there is none.
    fn can_last(&self, body: &mut StreamedBody) -> bool {
        if body.heartbeat.is_none() {
            return true;
        }
        body.held = self.lasting.hold();
        body.held.is_some()
    }

    fn deliver(&mut self, mut late: DeferredResponse, cx: &mut ExchangeContext<'_>) -> Outcome {
        if late.body.as_mut().is_some_and(|body| !self.can_last(body)) {
            return self.respond_late(503, CROWDED, cx);
        }
        cx.head_is_complete(late.head.status);
        let (status, body_bytes) = (late.head.status, late.body_bytes);
        self.tell_decided(status, late.body.is_none().then_some(body_bytes), cx);
        match self.recorder.deliver(late, cx.mode, cx.output) {
            Err(close) => self.complete(Some(status), body_bytes, close, cx),
            Ok(body) => {
                let now = self.now;
                let exchange = self.exchange(cx.exchange);
                exchange.begin_log(status);
                (exchange.body, exchange.since) = (Some(body), now);
                Outcome::Progress
            }
        }
    }

    /// Sends a heartbeat on a stream of events that has been silent. `None` if this is no such stream.
    pub(crate) fn beat(&mut self, cx: &mut ExchangeContext<'_>) -> Option<Outcome> {
        let exchange = cx.exchange.as_mut()?;
        let body = exchange.body.as_mut()?;
        body.heartbeat?;
        let progress = body.beat(cx.output);
        Some(self.advance(progress, cx))
    }

    /// The server stops: events, which would never end, end here.
    pub(crate) fn end_events(&mut self, cx: &mut ExchangeContext<'_>) -> Outcome {
        if cx.events().is_none() {
            return Outcome::Unchanged;
        }
        let body = cx.exchange.as_mut().and_then(|e| e.body.as_deref_mut());
        if let (Some(hint), Some(body)) = (retry_hint(self.events_retry), body) {
            let progress = body.push(hint, cx.output);
            if let BodyProgress::Broken(_) = progress {
                return self.advance(progress, cx);
            }
        }
        self.end_body(b"", cx)
    }

    fn end_body(&mut self, trailers: &[u8], cx: &mut ExchangeContext<'_>) -> Outcome {
        let body = cx.exchange.as_mut().and_then(|e| e.body.as_deref_mut());
        let Some(body) = body else {
            return Outcome::Progress;
        };
        let progress = body.end(trailers, cx.output);
        self.advance(progress, cx)
    }

    /// `always`: what the thread that has failed has set, with what was set before.
    fn fail_late(
        &mut self,
        failure: &ResponseFailure,
        always: Option<Box<Always>>,
        cx: &mut ExchangeContext<'_>,
    ) -> Outcome {
        if let (Some(exchange), true) = (cx.exchange.as_mut(), always.is_some()) {
            exchange.always = always;
        }
        self.fail(failure, cx);
        match cx.body() {
            Some(_) => self.cut(cx),
            None => self.respond_late(500, NO_RESPONSE, cx),
        }
    }

    /// Sends an error response instead of the pending response.
    fn respond_late(&mut self, status: u16, text: &str, cx: &mut ExchangeContext<'_>) -> Outcome {
        cx.head_is_complete(status);
        let body_bytes = self.error_response(status, text, cx);
        self.tell_decided(status, Some(body_bytes), cx);
        self.complete(Some(status), body_bytes, true, cx)
    }

    fn advance(&mut self, progress: BodyProgress, cx: &mut ExchangeContext<'_>) -> Outcome {
        match progress {
            BodyProgress::More => {
                if let Some(exchange) = cx.exchange {
                    exchange.since = self.now;
                }
                Outcome::Progress
            }
            BodyProgress::Complete => {
                let (close, bytes) = cx
                    .body()
                    .map_or((false, 0), |body| (body.close, body.pushed()));
                self.complete(None, bytes, close, cx)
            }
            BodyProgress::Broken(error) => {
                let error = ResponseError::Body(error);
                self.fail(&ResponseFailure::Response(error), cx);
                self.cut(cx)
            }
        }
    }

    /// A pending response is complete. Without `status` it is a streamed one.
    pub(super) fn complete(
        &mut self,
        status: Option<u16>,
        body_bytes: u64,
        close: bool,
        cx: &mut ExchangeContext<'_>,
    ) -> Outcome {
        let entry = cx
            .exchange
            .as_mut()
            .and_then(|exchange| exchange.log.take());
        match (entry, status) {
            (Some(entry), Some(status)) => entry.complete_with(status, body_bytes, cx.output),
            (Some(entry), None) => entry.complete(body_bytes, cx.output),
            (None, _) => {}
        }
        self.end(cx.exchange);
        Outcome::Complete { close }
    }

    /// The rest of the response will never be sent. The client must see that something is missing.
    pub(crate) fn cut(&mut self, cx: &mut ExchangeContext<'_>) -> Outcome {
        if let Some(exchange) = cx.exchange {
            exchange.cut_log();
        }
        self.end(cx.exchange);
        Outcome::Aborted
    }

    /// The time limit of the response has passed. Writes a 503, unless a part of the response was sent
    /// before: then true.
    pub(crate) fn time_out(&mut self, cx: &mut ExchangeContext<'_>) -> bool {
        let is_streaming = cx.body().is_some();
        if is_streaming {
            self.cut(cx);
            return true;
        }
        cx.head_is_complete(503);
        let body_bytes = self.error_response(503, "the response took too long", cx);
        match cx
            .exchange
            .as_mut()
            .and_then(|exchange| exchange.log.take())
        {
            Some(entry) => entry.complete_with(503, body_bytes, cx.output),
            None if self.tell_decided(503, Some(body_bytes), cx) => {}
            None => self.tell(503, body_bytes, cx),
        }
        self.end(cx.exchange);
        false
    }
}
