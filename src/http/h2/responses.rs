//! Responses that are not complete at once, and the end of streams.

use super::streams::{Intake, Stream};
use super::turn::{Parts, Turn};
use crate::http::access_entry::CLIENT_GONE;
use crate::http::connection_error::ConnectionError;
use crate::http::deferred::worker_handle::WorkerCommand;
use crate::http::handler::Handler;
use crate::http::request_body::flow::Flow;
use crate::http::service::{ExchangeContext, Outcome, Pace, Service};
use crate::shared::output::Output;
use peregrine_protocol::h2::connection::{Close, CloseReason};
use peregrine_protocol::h2::frame::ErrorCode;
use std::ops::Deref;

/// The status in the log of a malformed request, whose stream was reset: that of HTTP/1.
const MALFORMED: u16 = 400;

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Handles a command of another thread, if it names a request of this connection.
    pub(super) fn take_command_http2(&mut self, command: WorkerCommand, parts: &mut Parts<'_>) {
        let named = command.request().and_then(|id| parts.streams.named(id));
        let Some(stream) = named.and_then(|id| parts.streams.get(id)) else {
            return;
        };
        // A sink may respond now.
        self.recorder.set_conn(parts.conn);
        let id = stream.id;
        if stream.has_body() {
            let trailers = match &command {
                WorkerCommand::End(_, trailers) => trailers.clone(),
                _ => Box::default(),
            };
            let outcome = self.step_body(id, parts, |service, cx| service.command(command, cx));
            return self.settle_body(id, outcome, &trailers, parts);
        }
        let cx = &mut stream.context(parts.response, (parts.ends, parts.counters));
        match self.command(command, cx) {
            Outcome::Complete { .. } => self.transmit_last(id, parts),
            Outcome::Progress => self.begin_body(id, parts),
            Outcome::Aborted => self.abort(id, parts),
            Outcome::Sink(Flow::Respond) => self.finish_sink_early(id, parts),
            Outcome::Sink(_) => self.resume_sink(id, parts),
            Outcome::Unchanged => {}
        }
    }

    /// Lets the service go on with a body that has begun. What it writes waits for the windows.
    fn step_body(
        &mut self,
        id: u32,
        parts: &mut Parts<'_>,
        step: impl FnOnce(&mut Self, &mut ExchangeContext<'_>) -> Outcome,
    ) -> Outcome {
        let shared = (parts.ends, parts.counters);
        let Some(stream) = parts.streams.get(id) else {
            return Outcome::Unchanged;
        };
        let mut outcome = Outcome::Unchanged;
        let now = self.now;
        let push = |queue: &mut Output| outcome = step(self, &mut stream.context(queue, shared));
        // If the stream has ended, the state machine is about to say so.
        let _ = parts.http2.send(id, now, push);
        outcome
    }

    fn settle_body(&mut self, id: u32, outcome: Outcome, trailers: &[u8], parts: &mut Parts<'_>) {
        match outcome {
            Outcome::Complete { .. } => {
                parts.http2.finish(id, trailers);
                parts.streams.take(id);
            }
            Outcome::Aborted => self.abort(id, parts),
            Outcome::Unchanged | Outcome::Progress | Outcome::Sink(_) => {}
        }
    }

    /// The rest of the response will never come. The client sees a reset.
    fn abort(&mut self, id: u32, parts: &mut Parts<'_>) {
        parts
            .http2
            .reset(id, ErrorCode::INTERNAL_ERROR, parts.output, self.now);
        if let Some(mut stream) = parts.streams.take(id) {
            self.end(&mut stream.exchange);
        }
    }

    /// Continues the bodies that the connection pulls from a source, and of which nothing waits. `None` if there
    /// is more to send now. Other connections have their turn when `pace` is over; the next pass begins behind the
    /// stream that was the last. While streams have enough that waits for windows, no more is drawn.
    pub(super) fn draw_bodies(&mut self, pace: &mut Pace, parts: &mut Parts<'_>) -> Option<Turn> {
        let most = self.limits.output_bytes as u64;
        let mut waiting = parts.http2.queued_in_all();
        let (mut rests, mut moved) = (false, false);
        let last = parts.streams.last_drawn;
        for (after, until) in [(last, u32::MAX), (0, last)] {
            let mut id = after;
            while let Some(next) = parts.streams.next(id, Stream::is_drawn) {
                if next > until || waiting > most {
                    break;
                }
                id = next;
                if parts.http2.queued(id) != Some(0) {
                    continue;
                }
                pace.begin(self.limits.turn_time, || true);
                let outcome = self.step_body(id, parts, Service::draw);
                waiting += parts.http2.queued(id).unwrap_or(0);
                self.settle_body(id, outcome, b"", parts);
                match outcome {
                    Outcome::Unchanged => rests = true,
                    _ => moved = true,
                }
                parts.streams.last_drawn = id;
                if pace.is_over(|| true) {
                    return Some(if moved { Turn::Again } else { Turn::Rest });
                }
            }
        }
        match (moved, rests) {
            (true, _) => None,
            (false, true) => Some(Turn::Rest),
            (false, false) => Some(Turn::Read),
        }
    }

    /// The server stops: streams of events, which would never end, end here.
    pub(super) fn end_all_events(&mut self, parts: &mut Parts<'_>) {
        let mut id = 0;
        while let Some(next) = parts.streams.next(id, Stream::has_body) {
            id = next;
            self.end_stream_events(id, parts);
        }
    }

    pub(super) fn end_stream_events(&mut self, id: u32, parts: &mut Parts<'_>) {
        let outcome = self.step_body(id, parts, Service::end_events);
        self.settle_body(id, outcome, b"", parts);
    }

    /// Responses that should have gone on: a heartbeat is sent, or their time is over.
    pub(super) fn expire_streams(&mut self, parts: &mut Parts<'_>) {
        let (mut id, now) = (0, self.now);
        while let Some(next) = parts.streams.due(id, parts.http2, &self.limits, now) {
            id = next;
            self.expire_stream(id, parts);
        }
    }

    fn expire_stream(&mut self, id: u32, parts: &mut Parts<'_>) {
        let mut beaten = false;
        let beat = |service: &mut Self, cx: &mut ExchangeContext<'_>| match service.beat(cx) {
            Some(outcome) => {
                beaten = true;
                outcome
            }
            None => Outcome::Unchanged,
        };
        if parts
            .streams
            .get(id)
            .is_some_and(|stream| stream.has_body())
        {
            let outcome = self.step_body(id, parts, beat);
            self.settle_body(id, outcome, b"", parts);
        }
        let Some(stream) = parts.streams.get(id).filter(|_| !beaten) else {
            return;
        };
        parts.counters.handler_errors.add(1);
        parts.counters.response_timeouts.add(1);
        self.report(&ConnectionError::ResponseTimeout, parts.ends);
        let cx = &mut stream.context(parts.response, (parts.ends, parts.counters));
        match self.time_out(cx) {
            true => self.abort(id, parts),
            false => self.transmit_last(id, parts),
        }
    }

    /// The head of a request is malformed, and its stream was reset. It counts as in HTTP/1, where it gets a response.
    #[cold]
    pub(super) fn take_malformed(&mut self, text: &'static str, parts: &mut Parts<'_>) {
        let code = ErrorCode::PROTOCOL_ERROR.0;
        parts.counters.http2_requests.add(1);
        parts.counters.refused.add(1);
        self.report(&ConnectionError::Http2 { code, text }, parts.ends);
        self.tell_unanswered(MALFORMED, None, self.now, parts.ends);
    }

    /// The stream has ended before its response was complete. So many bytes of it were waiting. `fault`: of the client.
    pub(super) fn take_reset(
        &mut self,
        id: u32,
        unsent: u64,
        code: ErrorCode,
        fault: Option<&'static str>,
        parts: &mut Parts<'_>,
    ) {
        if let Some(text) = fault {
            let code = code.0;
            self.report(&ConnectionError::Http2 { code, text }, parts.ends);
        }
        let Some(stream) = parts.streams.take(id) else {
            return;
        };
        let is_malformed = fault.is_some() && code == ErrorCode::PROTOCOL_ERROR;
        match is_malformed && !matches!(stream.intake, Intake::None) {
            true => {
                parts.counters.refused.add(1);
                self.leave_stream(stream, unsent, MALFORMED, parts);
            }
            false => self.leave_stream(stream, unsent, CLIENT_GONE, parts),
        }
    }

    /// The client will not get the response. `status`: for the log, if the request is not complete.
    fn leave_stream(&mut self, mut stream: Stream, unsent: u64, status: u16, parts: &Parts<'_>) {
        self.leave(&mut stream.exchange, unsent);
        if !matches!(stream.intake, Intake::None) {
            let request = stream.request.as_ref();
            let request = request.map(|request| request.view(parts.ends).without_body());
            self.tell_unanswered(status, request, stream.since, parts.ends);
        }
    }

    /// The connection is closed: all of its streams end. So many bytes of the output are lost. It is not known of which
    /// streams they are, so each may have sent less than that.
    pub(super) fn leave_all(&mut self, lost: u64, parts: &mut Parts<'_>) {
        for stream in parts.streams.take_all() {
            let unsent = parts.http2.queued(stream.id).unwrap_or(0) + lost;
            self.leave_stream(stream, unsent, CLIENT_GONE, parts);
        }
    }

    /// Ends the streams, and reports why the connection is closed.
    #[inline(never)]
    pub(super) fn report_close_http2(&mut self, close: Close, parts: &mut Parts<'_>) {
        // The output is still sent.
        self.leave_all(0, parts);
        let counters = parts.counters;
        match close.reason {
            CloseReason::Error(code, text) => {
                counters.connection_errors.add(1);
                match code {
                    ErrorCode::ENHANCE_YOUR_CALM => counters.http2_goaways_calm.add(1),
                    _ => counters.http2_goaways_error.add(1),
                }
                let code = code.0;
                self.report(&ConnectionError::Http2 { code, text }, parts.ends);
            }
            CloseReason::ClientGone => {
                counters.connection_errors.add(1);
                counters.clients_gone.add(1);
                self.report(&ConnectionError::ClientGone, parts.ends);
            }
            CloseReason::Finished | CloseReason::ClientDone | CloseReason::IdleTimeout => {}
        }
    }
}
