//! One turn of an HTTP/2 connection.
//!
//! The state machine says what the next step is, the service does it, and the response goes to the state
//! machine. A request with a complete response leaves nothing behind.

use super::streams::{Intake, KeptRequest, SinkState, Stream, Streams, view};
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::http::service::{
    Exchange, ExchangeContext, NoUpgrade, Pace, Planned, Refusal, Service, respond,
};
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::Timing;
use crate::runtime::socket::Ends;
use crate::shared::id::ConnId;
use crate::shared::output::{FilePart, Output};
use crate::shared::panic_guard::{Panic, catch};
use peregrine_protocol::error::ProtocolError;
use peregrine_protocol::h1::framing::BodyLength;
use peregrine_protocol::h1::read_buf::Input;
use peregrine_protocol::h2::connection::{Close, Http2, Next, RequestParts};
use peregrine_protocol::h2::head::HeadBuf;
use peregrine_protocol::h2::limits::Http2Limits;
use peregrine_protocol::http::Version;
use peregrine_protocol::http::exchange::{BodyIntake, ResponseContext};
use std::ops::Deref;

/// The parts of one connection that a turn uses, and what all connections of the thread share.
pub(super) struct Parts<'a> {
    pub(super) http2: &'a mut Http2<FilePart>,
    pub(super) input: &'a mut Input,
    pub(super) output: &'a mut Output,
    pub(super) streams: &'a mut Streams,
    pub(super) keep_alive: bool,
    pub(super) conn: ConnId,
    pub(super) ends: &'a dyn Ends,
    pub(super) counters: &'a WorkerCounters,
    pub(super) head: &'a mut HeadBuf,
    /// The response that is being written: its fields, and what there is of its body.
    pub(super) response: &'a mut Output,
    pub(super) limits: &'a Http2Limits,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Everything that has arrived is handled.
    Read,
    /// The same, and the source of a body has to be asked again after a while.
    Rest,
    /// There is more to do, but other connections have their turn first.
    Again,
    /// Too many bytes or files are unsent.
    Blocked,
    /// The output has to be sent, then the connection is closed.
    Close(Close),
}

/// What a request is, without its head.
#[derive(Clone, Copy)]
pub(super) struct Current {
    pub(super) id: u32,
    pub(super) mode: ResponseContext,
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Handles the frames in the input, within the limits of one turn.
    pub(super) fn turn_http2(&mut self, parts: &mut Parts<'_>) -> Turn {
        self.recorder.set_conn(parts.conn);
        let is_over = self.recorder.handle.budget.is_over();
        let mut left = self.limits.requests_per_turn.max(1);
        let (mut pace, mut drawing) = (Pace::default(), Pace::default());
        loop {
            if parts.streams.holds_back {
                self.give_windows_back(parts);
            }
            if left == 0 || pace.is_over(|| !parts.input.is_empty()) {
                return Turn::Again;
            }
            if parts.output.is_full(&self.limits) {
                return Turn::Blocked;
            }
            let (head, output) = (&mut *parts.head, &mut *parts.output);
            let next = parts.http2.next(
                parts.input,
                head,
                output,
                &self.limits,
                parts.limits,
                self.now,
            );
            match next {
                Next::Request(request) => {
                    left -= 1;
                    pace.begin(self.limits.turn_time, || !parts.input.is_empty());
                    self.take_request(&request, is_over, parts);
                }
                Next::Data {
                    stream,
                    piece,
                    is_last,
                } => {
                    left -= 1;
                    self.take_data(stream, piece, is_last, parts);
                }
                Next::Drained { .. } => {}
                Next::Trailers { stream } => {
                    left -= 1;
                    pace.begin(self.limits.turn_time, || !parts.input.is_empty());
                    self.take_trailers(stream, parts);
                }
                Next::Malformed { text, .. } => {
                    left -= 1;
                    self.take_malformed(text, parts);
                }
                Next::Reset {
                    stream,
                    code,
                    unsent,
                    fault,
                } => self.take_reset(stream, unsent, code, fault, parts),
                Next::Refused { stream, error } => {
                    left -= 1;
                    pace.begin(self.limits.turn_time, || !parts.input.is_empty());
                    let mode = mode_of(parts.head);
                    let current = Current { id: stream, mode };
                    parts.counters.http2_requests.add(1);
                    self.refuse_current(current, error, &mut None, parts);
                }
                Next::Read => match self.draw_bodies(&mut drawing, parts) {
                    None => left -= 1,
                    Some(turn) => return turn,
                },
                Next::Close(close) => return Turn::Close(close),
            }
        }
    }

    #[inline]
    fn take_request(&mut self, request: &RequestParts, is_over: bool, parts: &mut Parts<'_>) {
        if !parts.keep_alive {
            parts.http2.stop(parts.output, self.now);
        }
        let has_body = request.framing.body != BodyLength::Exact(0);
        if has_body && parts.streams.heads() > self.limits.output_bytes {
            // Before the application has seen it.
            let (id, now) = (request.stream, self.now);
            return parts.http2.refuse(id, parts.output, parts.limits, now);
        }
        parts.counters.http2_requests.add(1);
        let current = Current {
            id: request.stream,
            mode: request.mode,
        };
        if is_over {
            parts.counters.overloaded.add(1);
            return self.refuse_current(current, ProtocolError::Overloaded, &mut None, parts);
        }
        if self.gate.is_some() && self.keep_out_http2(current, parts) {
            return;
        }
        match has_body {
            false => self.respond_to_current(current, parts),
            true => self.plan_body(current, request, parts),
        }
    }

    #[inline]
    fn respond_to_current(&mut self, current: Current, parts: &mut Parts<'_>) {
        let span = self.begin_span(&view(parts.head, parts.ends));
        match self.timing {
            Timing::Off => self.call_current(current, parts),
            _ => self.call_current_timed(current, parts),
        }
        self.end_span(span);
    }

    #[cold]
    #[inline(never)]
    fn call_current_timed(&mut self, current: Current, parts: &mut Parts<'_>) {
        let timed = self.begin_timing(&view(parts.head, parts.ends));
        self.call_current(current, parts);
        self.end_timing(timed, parts.counters);
    }

    #[inline(always)]
    fn call_current(&mut self, current: Current, parts: &mut Parts<'_>) {
        // As in HTTP/1, the handler has to be sound after a panic in any case.
        let responded = catch(|| {
            let response = self
                .recorder
                .recorded_response(current.mode, parts.response);
            let request = view(parts.head, parts.ends);
            let is_special = current.mode.method.is_special();
            let handler = &*self.handler;
            let _done: Done = call(handler, &request, is_special, response);
        });
        self.finish_current(current, responded, None, parts);
    }

    /// Passes on the response to the request that was decoded last.
    #[inline(always)]
    fn finish_current(
        &mut self,
        current: Current,
        responded: Result<(), Panic>,
        place: Option<Box<Exchange>>,
        parts: &mut Parts<'_>,
    ) {
        parts.counters.requests.add(1);
        match (responded, self.recorder.is_complete()) {
            (Ok(()), Some(_)) if place.is_none() => {
                parts.counters.count_status(self.recorder.status());
                self.transmit(current.id, parts);
            }
            (responded, _) => self.finish_current_unusual(current, responded, place, parts),
        }
    }

    #[inline(never)]
    fn finish_current_unusual(
        &mut self,
        current: Current,
        responded: Result<(), Panic>,
        mut place: Option<Box<Exchange>>,
        parts: &mut Parts<'_>,
    ) {
        let cx = &mut current_context(current.mode, &mut place, self.now, parts);
        if self.is_later(responded, cx) {
            let mut stream = Stream::new(current.id, current.mode, self.now);
            stream.exchange = place;
            parts.streams.add(stream);
            parts.http2.discard(current.id, 0, self.now);
            self.begin_body(current.id, parts);
        } else {
            self.end(&mut place);
            self.transmit(current.id, parts);
        }
    }

    /// A handler has returned. True if its response comes later, false if a complete one is recorded.
    pub(super) fn is_later(
        &mut self,
        responded: Result<(), Panic>,
        cx: &mut ExchangeContext<'_>,
    ) -> bool {
        match (responded, self.recorder.is_complete()) {
            (Ok(()), Some(_)) => {
                cx.counters.count_status(self.recorder.status());
                false
            }
            (Ok(()), None) => self.keep(cx),
            (Err(panic), _) => {
                self.respond_after_panic(panic, cx);
                false
            }
        }
    }

    /// Passes the complete response that is recorded to its stream. If that has ended, it is dropped.
    #[inline]
    pub(super) fn transmit(&mut self, id: u32, parts: &mut Parts<'_>) {
        let (head, fields, size) = self.recorder.recorded();
        let recorded = (fields, size);
        let common = self.recorder.encoder.common_fields();
        let (response, output) = (&mut *parts.response, &mut *parts.output);
        parts
            .http2
            .respond_with(id, &head, common, recorded, response, output, self.now);
    }

    /// If the body of the response follows: sends the head that is recorded.
    pub(super) fn begin_body(&mut self, id: u32, parts: &mut Parts<'_>) {
        let (head, fields, size) = self.recorder.recorded();
        let Some(stream) = parts.streams.get(id).filter(|stream| stream.has_body()) else {
            return parts.response.clear();
        };
        if let Some(exchange) = &mut stream.exchange {
            exchange.begin_body(size);
        }
        let common = self.recorder.encoder.common_fields();
        let own = &parts.response.row()[..fields];
        let fields = &[common, own];
        parts
            .http2
            .begin(id, &head, fields, size, parts.output, self.now);
        parts.response.clear();
        if parts.http2.is_stopping() {
            self.end_stream_events(id, parts);
        }
    }

    /// Refuses the request that was decoded last.
    #[cold]
    pub(super) fn refuse_current(
        &mut self,
        current: Current,
        error: ProtocolError,
        place: &mut Option<Box<Exchange>>,
        parts: &mut Parts<'_>,
    ) {
        self.end(place);
        let cx = &mut current_context(current.mode, place, self.now, parts);
        self.refuse_with(error, cx);
        self.transmit(current.id, parts);
    }

    /// Whether the request does not pass the gate. Then it is refused.
    #[inline(never)]
    fn keep_out_http2(&mut self, current: Current, parts: &mut Parts<'_>) -> bool {
        match self.refusal(&view(parts.head, parts.ends)) {
            None => return false,
            Some(Refusal::Host) => {
                let error = ProtocolError::HostNotAllowed;
                self.refuse_current(current, error, &mut None, parts);
            }
            Some(Refusal::Rate(wait)) => {
                let place = &mut None;
                let cx = &mut current_context(current.mode, place, self.now, parts);
                self.refuse_rate(wait, cx);
                self.transmit(current.id, parts);
            }
        }
        true
    }

    /// Asks for the plan of a body, and receives the body in that way.
    #[inline(never)]
    fn plan_body(&mut self, current: Current, request: &RequestParts, parts: &mut Parts<'_>) {
        let (mode, mut place) = (current.mode, None);
        let planned = self.plan(&mut current_context(mode, &mut place, self.now, parts));
        let (intake, most) = match planned {
            Planned::Refused => {
                self.end(&mut place);
                return self.transmit(current.id, parts);
            }
            Planned::Respond(respond) => {
                let request = view(parts.head, parts.ends);
                let (span, timed) = (self.begin_span(&request), self.begin_timing(&request));
                let cx = &mut current_context(mode, &mut place, self.now, parts);
                let responded = self.respond_by_plan(respond, cx);
                self.finish_current(current, responded, place, parts);
                self.end_timing(timed, parts.counters);
                self.end_span(span);
                return;
            }
            Planned::Intake(BodyIntake::Unread | BodyIntake::Refuse) => {
                return self.respond_to_current(current, parts);
            }
            Planned::Intake(BodyIntake::Buffer(most)) => (Intake::Buffer(most), most),
            Planned::Intake(BodyIntake::Pieces(most)) => {
                let sink = SinkState {
                    most,
                    ..SinkState::default()
                };
                (Intake::Sink(sink), most)
            }
        };
        if matches!(request.framing.body, BodyLength::Exact(len) if len > most) {
            return self.refuse_current(current, ProtocolError::BodyTooLarge, &mut place, parts);
        }
        if request.framing.expects_continue {
            parts.http2.interim(current.id, 100, &[], parts.output);
        }
        let mut stream = Stream::new(current.id, mode, self.now);
        (stream.exchange, stream.intake) = (place, intake);
        stream.request = Some(KeptRequest::new(parts.head, &request.framing));
        parts.streams.add(stream);
    }
}

/// Calls the handler. It is no method: the compiler puts all methods of a type in one unit of code. As one of
/// [`Service`], it would be a second caller of the handler in the unit of HTTP/1, and the handler would be inlined in
/// neither.
#[inline(never)]
pub(super) fn call<H: Handler>(
    handler: &H,
    request: &Request<'_>,
    is_special: bool,
    response: Response<'_>,
) -> Done {
    respond(handler, &mut NoUpgrade, request, is_special, response)
}

/// The context of the request that was decoded last.
fn current_context<'a>(
    mode: ResponseContext,
    exchange: &'a mut Option<Box<Exchange>>,
    now: peregrine_protocol::Seconds,
    parts: &'a mut Parts<'_>,
) -> ExchangeContext<'a> {
    let ends = parts.ends;
    ExchangeContext {
        exchange,
        output: parts.response,
        request: (parts.head.head.is_complete()).then(|| view(parts.head, ends)),
        mode,
        since: now,
        ends,
        counters: parts.counters,
    }
}

/// Of a request whose head is refused.
fn mode_of(head: &HeadBuf) -> ResponseContext {
    ResponseContext {
        method: head.head.kind,
        persistent: true,
        version: Version::Http2,
    }
}
