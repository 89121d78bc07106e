//! Requests whose head has come.
//!
//! The service does what the head asks for, and the response goes to the state machine. A request with a complete
//! response leaves nothing behind.

use super::streams::{Intake, KeptRequest, SinkState, Stream, view};
use super::{Multiplexer, Parts};
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::http::service::{
    Exchange, ExchangeContext, NoUpgrade, Planned, Refusal, Service, respond,
};
use crate::runtime::event_loop::Timing;
use crate::shared::panic_guard::{Panic, catch};
use peregrine_protocol::error::ProtocolError;
use peregrine_protocol::h1::framing::{BodyLength, Framing};
use peregrine_protocol::h2::head::HeadBuf;
use peregrine_protocol::http::Version;
use peregrine_protocol::http::exchange::{BodyIntake, ResponseContext};
use std::ops::Deref;

/// What a request is, without its head.
#[derive(Clone, Copy)]
pub(in crate::http) struct Current {
    pub(in crate::http) id: u64,
    pub(in crate::http) mode: ResponseContext,
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// A request that is refused before its head is complete.
    #[cold]
    pub(in crate::http) fn take_refused<C: Multiplexer>(
        &mut self,
        id: u64,
        error: ProtocolError,
        parts: &mut Parts<'_, C>,
    ) {
        let mode = mode_of(parts.head, C::VERSION);
        C::count_request(parts.counters);
        self.refuse_current(Current { id, mode }, error, &mut None, parts);
    }

    #[inline]
    pub(in crate::http) fn take_request<C: Multiplexer>(
        &mut self,
        current: Current,
        framing: &Framing,
        is_over: bool,
        parts: &mut Parts<'_, C>,
    ) {
        if !parts.keep_alive {
            parts.machine.stop(self.now);
        }
        let has_body = framing.body != BodyLength::Exact(0);
        if has_body && parts.streams.heads() > self.limits.output_bytes {
            // Before the application has seen it.
            return parts.machine.refuse(current.id, self.now);
        }
        C::count_request(parts.counters);
        if is_over {
            parts.counters.overloaded.add(1);
            return self.refuse_current(current, ProtocolError::Overloaded, &mut None, parts);
        }
        if self.gate.is_some() && self.keep_out_stream(current, parts) {
            return;
        }
        match has_body {
            false => self.respond_to_current(current, parts),
            true => self.plan_body(current, framing, parts),
        }
    }

    #[inline]
    fn respond_to_current(&mut self, current: Current, parts: &mut Parts<'_, impl Multiplexer>) {
        let span = self.begin_span(&view(parts.head, parts.ends));
        match self.timing {
            Timing::Off => self.call_current(current, parts),
            _ => self.call_current_timed(current, parts),
        }
        self.end_span(span);
    }

    #[cold]
    #[inline(never)]
    fn call_current_timed(&mut self, current: Current, parts: &mut Parts<'_, impl Multiplexer>) {
        let timed = self.begin_timing(&view(parts.head, parts.ends));
        self.call_current(current, parts);
        self.end_timing(timed, parts.counters);
    }

    #[inline(always)]
    fn call_current(&mut self, current: Current, parts: &mut Parts<'_, impl Multiplexer>) {
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
        parts: &mut Parts<'_, impl Multiplexer>,
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
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let cx = &mut current_context(current.mode, &mut place, self.now, parts);
        if self.is_later(responded, cx) {
            let mut stream = Stream::new(current.id, current.mode, self.now);
            stream.exchange = place;
            parts.streams.add(stream);
            parts.machine.discard(current.id, 0, self.now);
            self.begin_body(current.id, parts);
        } else {
            self.end(&mut place);
            self.transmit(current.id, parts);
        }
    }

    /// A handler has returned. True if its response comes later, false if a complete one is recorded.
    pub(in crate::http) fn is_later(
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
    pub(in crate::http) fn transmit(&mut self, id: u64, parts: &mut Parts<'_, impl Multiplexer>) {
        let (head, fields, size) = self.recorder.recorded();
        let recorded = (fields, size);
        let common = self.recorder.encoder.common_fields();
        parts
            .machine
            .respond_with(id, &head, common, recorded, parts.response, self.now);
    }

    /// If the body of the response follows: sends the head that is recorded.
    pub(in crate::http) fn begin_body(&mut self, id: u64, parts: &mut Parts<'_, impl Multiplexer>) {
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
        parts.machine.begin(id, &head, fields, size, self.now);
        parts.response.clear();
        if parts.machine.is_stopping() {
            self.end_stream_events(id, parts);
        }
    }

    /// Refuses the request that was decoded last.
    #[cold]
    pub(in crate::http) fn refuse_current(
        &mut self,
        current: Current,
        error: ProtocolError,
        place: &mut Option<Box<Exchange>>,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        self.end(place);
        let cx = &mut current_context(current.mode, place, self.now, parts);
        self.refuse_with(error, cx);
        self.transmit(current.id, parts);
    }

    /// Whether the request does not pass the gate. Then it is refused.
    #[inline(never)]
    fn keep_out_stream(
        &mut self,
        current: Current,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) -> bool {
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
    fn plan_body(
        &mut self,
        current: Current,
        framing: &Framing,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let (mode, mut place) = (current.mode, None);
        self.recorder.set_conn(parts.conn);
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
        if matches!(framing.body, BodyLength::Exact(len) if len > most) {
            return self.refuse_current(current, ProtocolError::BodyTooLarge, &mut place, parts);
        }
        if framing.expects_continue {
            parts.machine.interim(current.id, 100, self.now);
        }
        let mut stream = Stream::new(current.id, mode, self.now);
        (stream.exchange, stream.intake) = (place, intake);
        stream.request = Some(KeptRequest::new(parts.head, framing));
        parts.streams.add(stream);
    }
}

/// Calls the handler. It is no method: the compiler puts all methods of a type in one unit of code. As one of
/// [`Service`], it would be a second caller of the handler in the unit of HTTP/1, and the handler would be inlined in
/// neither.
#[inline(never)]
pub(in crate::http) fn call<H: Handler>(
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
    parts: &'a mut Parts<'_, impl Multiplexer>,
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
fn mode_of(head: &HeadBuf, version: Version) -> ResponseContext {
    ResponseContext {
        method: head.head.kind,
        persistent: true,
        version,
    }
}
