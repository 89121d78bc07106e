//! Responses that are not complete at once, and the end of streams.

use super::streams::{Intake, Stream, Streams};
use super::{Multiplexer, Parts};
use crate::http::access_entry::CLIENT_GONE;
use crate::http::connection_error::ConnectionError;
use crate::http::deferred::worker_handle::WorkerCommand;
use crate::http::handler::Handler;
use crate::http::request_body::flow::Flow;
use crate::http::service::{ExchangeContext, Outcome, Pace, Service};
use crate::runtime::socket::Ends;
use crate::shared::output::Output;
use std::ops::Deref;

/// The status in the log of a malformed request, whose stream was reset: that of HTTP/1.
const MALFORMED: u16 = 400;

/// What has come of the bodies that a connection pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Drawn {
    /// Nothing is to be pulled.
    Nothing,
    /// There is more to send.
    More,
    /// The same, but other connections have their turn first.
    Again,
    /// A source has nothing at the moment, and has to be asked again.
    Rest,
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Handles a command of another thread, if it names a request of this connection.
    pub(in crate::http) fn take_stream_command(
        &mut self,
        command: WorkerCommand,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
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
        id: u64,
        parts: &mut Parts<'_, impl Multiplexer>,
        step: impl FnOnce(&mut Self, &mut ExchangeContext<'_>) -> Outcome,
    ) -> Outcome {
        let shared = (parts.ends, parts.counters);
        let Some(stream) = parts.streams.get(id) else {
            return Outcome::Unchanged;
        };
        let mut outcome = Outcome::Unchanged;
        let now = self.now;
        let push = |queue: &mut Output| outcome = step(self, &mut stream.context(queue, shared));
        parts.machine.send(id, now, push);
        outcome
    }

    fn settle_body(
        &mut self,
        id: u64,
        outcome: Outcome,
        trailers: &[u8],
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        match outcome {
            Outcome::Complete { .. } => {
                parts.machine.finish(id, trailers, self.now);
                parts.streams.take(id);
            }
            Outcome::Aborted => self.abort(id, parts),
            Outcome::Unchanged | Outcome::Progress | Outcome::Sink(_) => {}
        }
    }

    /// The rest of the response will never come. The client sees a reset.
    fn abort(&mut self, id: u64, parts: &mut Parts<'_, impl Multiplexer>) {
        parts.machine.abort(id, self.now);
        if let Some(mut stream) = parts.streams.take(id) {
            self.end(&mut stream.exchange);
        }
    }

    /// Continues the bodies that the connection pulls from a source, and of which nothing waits. Other connections have
    /// their turn when `pace` is over; the next pass begins behind the stream that was the last. While streams have
    /// enough that waits for windows, no more is drawn.
    pub(in crate::http) fn draw_bodies(
        &mut self,
        pace: &mut Pace,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) -> Drawn {
        let most = self.limits.output_bytes as u64;
        let mut waiting = parts.machine.queued_in_all();
        let (mut rests, mut moved) = (false, false);
        let first = parts.streams.draw_from;
        for (from, until) in [(first, u64::MAX), (0, first)] {
            let mut from = from;
            while let Some(id) = parts.streams.next(from, Stream::is_drawn) {
                if id >= until || waiting > most {
                    break;
                }
                from = id + 1;
                if parts.machine.queued(id) != Some(0) {
                    continue;
                }
                pace.begin(self.limits.turn_time, || true);
                let outcome = self.step_body(id, parts, Service::draw);
                waiting += parts.machine.queued(id).unwrap_or(0);
                self.settle_body(id, outcome, b"", parts);
                match outcome {
                    Outcome::Unchanged => rests = true,
                    _ => moved = true,
                }
                parts.streams.draw_from = from;
                if pace.is_over(|| true) {
                    return if moved { Drawn::Again } else { Drawn::Rest };
                }
            }
        }
        match (moved, rests) {
            (true, _) => Drawn::More,
            (false, true) => Drawn::Rest,
            (false, false) => Drawn::Nothing,
        }
    }

    /// The server stops: streams of events, which would never end, end here.
    pub(in crate::http) fn end_all_events(&mut self, parts: &mut Parts<'_, impl Multiplexer>) {
        let mut from = 0;
        while let Some(id) = parts.streams.next(from, Stream::has_body) {
            from = id + 1;
            self.end_stream_events(id, parts);
        }
    }

    pub(in crate::http) fn end_stream_events(
        &mut self,
        id: u64,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let outcome = self.step_body(id, parts, Service::end_events);
        self.settle_body(id, outcome, b"", parts);
    }

    /// Responses that should have gone on: a heartbeat is sent, or their time is over.
    pub(in crate::http) fn expire_streams(&mut self, parts: &mut Parts<'_, impl Multiplexer>) {
        let (mut from, now) = (0, self.now);
        loop {
            let queued = |id| parts.machine.queued(id);
            let Some(id) = parts.streams.due(from, queued, &self.limits, now) else {
                return;
            };
            from = id + 1;
            self.expire_stream(id, parts);
        }
    }

    fn expire_stream(&mut self, id: u64, parts: &mut Parts<'_, impl Multiplexer>) {
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
    pub(in crate::http) fn take_malformed<C: Multiplexer>(
        &mut self,
        text: &'static str,
        parts: &mut Parts<'_, C>,
    ) {
        C::count_request(parts.counters);
        parts.counters.refused.add(1);
        self.report(&C::error(C::MALFORMED, text), parts.ends);
        self.tell_unanswered(MALFORMED, None, self.now, parts.ends);
    }

    /// The stream has ended before its response was complete. So many bytes of it were waiting. `fault`: of the client.
    pub(in crate::http) fn take_reset<C: Multiplexer>(
        &mut self,
        id: u64,
        unsent: u64,
        code: u64,
        fault: Option<&'static str>,
        parts: &mut Parts<'_, C>,
    ) {
        if let Some(text) = fault {
            self.report(&C::error(code, text), parts.ends);
        }
        let Some(stream) = parts.streams.take(id) else {
            return;
        };
        let is_malformed = fault.is_some() && code == C::MALFORMED;
        match is_malformed && !matches!(stream.intake, Intake::None) {
            true => {
                parts.counters.refused.add(1);
                self.leave_stream(stream, unsent, MALFORMED, parts.ends);
            }
            false => self.leave_stream(stream, unsent, CLIENT_GONE, parts.ends),
        }
    }

    /// The client will not get the response. `status`: for the log, if the request is not complete.
    fn leave_stream(&mut self, mut stream: Stream, unsent: u64, status: u16, ends: &dyn Ends) {
        self.leave(&mut stream.exchange, unsent);
        if !matches!(stream.intake, Intake::None) {
            let request = stream.request.as_ref();
            let request = request.map(|request| request.view(ends).without_body());
            self.tell_unanswered(status, request, stream.since, ends);
        }
    }

    /// The connection is closed: all of its streams end. `unsent`: bytes of a stream that are lost.
    pub(in crate::http) fn leave_all(
        &mut self,
        streams: &mut Streams,
        unsent: impl Fn(u64) -> u64,
        ends: &dyn Ends,
    ) {
        for stream in streams.take_all() {
            let unsent = unsent(stream.id);
            self.leave_stream(stream, unsent, CLIENT_GONE, ends);
        }
    }

    /// A panic of the library has ended the connection.
    #[cold]
    pub(in crate::http) fn abandon_all(&mut self, streams: &mut Streams) {
        for mut stream in streams.take_all() {
            // The log entry is written by its drop.
            self.end(&mut stream.exchange);
        }
    }
}
