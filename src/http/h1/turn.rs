//! One turn of an HTTP/1 connection.
//!
//! The state machine says what the next step is, the service does it, and its result goes to the state
//! machine.

use crate::http::connection_error::ConnectionError;
use crate::http::deferred::streamed_body::StreamedBody;
use crate::http::deferred::worker_handle::WorkerCommand;
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::request_body::flow::Flow;
use crate::http::response::Done;
use crate::http::service::{
    Exchange, ExchangeContext, Outcome, Pace, Planned, Refusal, Service, Upgrades, respond,
};
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::Timing;
use crate::runtime::socket::Ends;
use crate::shared::id::ConnId;
use crate::shared::output::Output;
use crate::shared::panic_guard::{Panic, catch};
use peregrine_protocol::Seconds;
use peregrine_protocol::error::ProtocolError;
use peregrine_protocol::h1::connection::{Close, CloseReason, Http1, Next, RequestParts};
use peregrine_protocol::h1::framing::Framing;
use peregrine_protocol::h1::read_buf::Input;
use peregrine_protocol::http::exchange::{BodyIntake, ResponseContext};
use peregrine_protocol::limits::Limits;
use std::ops::{Deref, Range};
use std::time::Duration;

/// The parts of one connection that a turn uses.
pub(crate) struct Parts<'a> {
    pub(crate) http1: &'a mut Http1,
    pub(crate) input: &'a mut Input,
    pub(crate) output: &'a mut Output,
    /// The current exchange, if its response is not complete at once.
    pub(crate) exchange: &'a mut Option<Box<Exchange>>,
    pub(crate) conn: ConnId,
    pub(crate) ends: &'a dyn Ends,
    pub(crate) counters: &'a WorkerCounters,
}

impl Parts<'_> {
    /// For a response that ends the connection, or for no response.
    pub(super) fn context(&mut self) -> ExchangeContext<'_> {
        self.context_for(self.http1.last_mode())
    }

    fn context_for(&mut self, mode: ResponseContext) -> ExchangeContext<'_> {
        ExchangeContext {
            exchange: self.exchange,
            output: self.output,
            request: Request::of_head(self.input, self.ends),
            mode,
            since: self.http1.since(),
            ends: self.ends,
            counters: self.counters,
        }
    }
}

/// When [`Service::expire`] is due for a connection that waits for its client, or for a response.
pub(super) fn deadline(
    http1: &Http1,
    input: Option<&Input>,
    exchange: Option<&Exchange>,
    limits: &Limits,
) -> Seconds {
    match exchange {
        Some(exchange) if http1.is_waiting() || http1.is_paused() => exchange.deadline(limits),
        _ => http1.deadline(input, limits),
    }
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// All requests that have arrived have their responses.
    Read,
    /// A response, or the rest of one, is pending.
    Wait,
    /// The same, and its source has to be asked again after a while.
    Rest,
    /// There is more to do, but other connections have their turn first.
    Again,
    /// Too many bytes are unsent. Requests wait until they are sent.
    Blocked,
    /// The output has to be sent, then the connection is closed.
    Close(Close),
    /// Another protocol follows the response that is last in the output.
    Upgrade,
    /// The connection goes on in HTTP/2.
    Http2,
}

/// Whether the next step begins something new, or needs more memory. A request whose body has arrived does
/// neither.
#[inline(always)]
fn is_new(next: &Next, parts: &Parts<'_>) -> bool {
    match next {
        Next::Request(request) => request.body.is_empty() && parts.exchange.is_none(),
        Next::Plan(_) => true,
        Next::Read => parts.http1.needs_memory(parts.input),
        Next::Piece(_) | Next::Wait | Next::Close(_) => false,
        Next::Http2 => false,
    }
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Handles the requests in the input, within the limits of one turn.
    pub(super) fn turn(
        &mut self,
        parts: &mut Parts<'_>,
        upgrades: &mut impl Upgrades<P::Target>,
    ) -> Turn {
        self.recorder.set_conn(parts.conn);
        let is_over = self.recorder.handle.budget.is_over();
        let mut pace = Pace::default();
        for _ in 0..self.limits.requests_per_turn.max(1) {
            if pace.is_over(|| !parts.input.is_empty()) {
                return Turn::Again;
            }
            if parts.output.is_full(&self.limits) {
                return Turn::Blocked;
            }
            let next = parts.http1.next(parts.input, &self.limits, self.now);
            pace.begin(self.limits.turn_time, || parts.http1.has_more(parts.input));
            if is_over && is_new(&next, parts) {
                parts.counters.overloaded.add(1);
                parts.http1.refuse(ProtocolError::Overloaded);
                continue;
            }
            match next {
                Next::Request(_) | Next::Plan(_)
                    if self.gate.is_some() && self.keep_out(&next, parts) => {}
                Next::Request(request) => {
                    self.respond(&request, parts, upgrades);
                    if upgrades.is_accepted() {
                        return Turn::Upgrade;
                    }
                    if parts.http1.is_at_rest(parts.input) {
                        return Turn::Read;
                    }
                }
                Next::Plan(framing) => self.take_plan(framing, parts),
                Next::Piece(piece) => self.take_piece(piece, parts),
                Next::Read => return Turn::Read,
                Next::Wait => {
                    if let Some(turn) = self.draw_body(parts) {
                        return turn;
                    }
                }
                Next::Close(close) => {
                    self.report_close(close, parts);
                    return Turn::Close(close);
                }
                Next::Http2 => return Turn::Http2,
            }
        }
        Turn::Again
    }

    /// Whether the request does not pass the gate. Then it is refused.
    #[inline(never)]
    fn keep_out(&mut self, next: &Next, parts: &mut Parts<'_>) -> bool {
        let request = Request::new(parts.input, 0..0, parts.ends);
        // It has passed when its body was planned.
        if matches!(next, Next::Request(_)) && request.has_body() {
            return false;
        }
        match self.refusal(&request) {
            None => return false,
            Some(Refusal::Host) => _ = parts.http1.refuse(ProtocolError::HostNotAllowed),
            Some(Refusal::Rate(wait)) => self.refuse_above_rate(wait, next, parts),
        }
        true
    }

    /// The client makes too many requests. The body of this one is discarded, or ends the connection if it is long.
    #[cold]
    fn refuse_above_rate(&mut self, wait: Duration, next: &Next, parts: &mut Parts<'_>) {
        let mode = match next {
            Next::Request(request) => request.mode,
            Next::Plan(framing) => {
                let (http1, input) = (&mut *parts.http1, &mut *parts.input);
                let plan = BodyIntake::Unread;
                http1.plan(*framing, plan, input, &mut *parts.output, &self.limits);
                match http1.next(input, &self.limits, self.now) {
                    Next::Request(request) => request.mode,
                    _ => return,
                }
            }
            _ => return,
        };
        self.refuse_rate(wait, &mut parts.context_for(mode));
        let close = self.recorder.is_complete().unwrap_or(true);
        parts.http1.finish(close, parts.input, self.now);
    }

    #[inline]
    fn respond(
        &mut self,
        request: &RequestParts,
        parts: &mut Parts<'_>,
        upgrades: &mut impl Upgrades<P::Target>,
    ) {
        let span = self.begin_span(&Request::new(parts.input, 0..0, parts.ends));
        match self.timing {
            Timing::Off => self.call(request, parts, upgrades),
            _ => self.call_timed(request, parts, upgrades),
        }
        self.end_span(span);
    }

    #[cold]
    #[inline(never)]
    fn call_timed(
        &mut self,
        request: &RequestParts,
        parts: &mut Parts<'_>,
        upgrades: &mut impl Upgrades<P::Target>,
    ) {
        let timed = self.begin_timing(&Request::new(parts.input, 0..0, parts.ends));
        self.call(request, parts, upgrades);
        self.end_timing(timed, parts.counters);
    }

    #[inline(always)]
    fn call(
        &mut self,
        announced: &RequestParts,
        parts: &mut Parts<'_>,
        upgrades: &mut impl Upgrades<P::Target>,
    ) {
        if parts.exchange.is_some() {
            return self.call_sink(announced.mode, parts);
        }
        // The handler is shared by reference and has to be sound after a panic in any case, because other
        // threads continue to use it. `fail` removes the unfinished output. All values are made inside the
        // closure; others would go through memory.
        let responded = catch(|| {
            let mode = announced.mode;
            let response = self.recorder.response(mode, parts.output);
            let request = Request::new(parts.input, announced.body.clone(), parts.ends);
            let handler = &*self.handler;
            let is_special = mode.method.is_special();
            let _done: Done = respond(handler, upgrades, &request, is_special, response);
        });
        self.finish(responded, parts);
    }

    /// The body went to a sink, which responds.
    #[inline(never)]
    fn call_sink(&mut self, mode: ResponseContext, parts: &mut Parts<'_>) {
        let responded = self.respond_by_sink(&mut parts.context_for(mode));
        self.finish(responded, parts);
    }

    /// Completes a request after its handler has returned.
    #[inline(always)]
    fn finish(&mut self, responded: Result<(), Panic>, parts: &mut Parts<'_>) {
        parts.counters.requests.add(1);
        match (responded, self.recorder.is_complete()) {
            (Ok(()), Some(close)) => {
                parts.counters.count_status(self.recorder.status());
                parts.http1.finish(close, parts.input, self.now);
            }
            (Ok(()), None) => self.finish_unusual(parts),
            (Err(panic), _) => self.finish_panicked(panic, parts),
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_panicked(&mut self, panic: Panic, parts: &mut Parts<'_>) {
        self.respond_after_panic(panic, &mut parts.context());
        parts.http1.finish(true, parts.input, self.now);
    }

    #[inline(never)]
    fn finish_unusual(&mut self, parts: &mut Parts<'_>) {
        if !self.keep(&mut parts.context()) {
            return parts.http1.finish(true, parts.input, self.now);
        }
        parts.http1.defer(parts.input, self.now);
        self.end_events_of(parts);
    }

    /// Asks for the plan of a body, and receives the body in that way.
    #[inline(never)]
    fn take_plan(&mut self, framing: Framing, parts: &mut Parts<'_>) {
        let planned = self.plan(&mut parts.context());
        let intake = match &planned {
            Planned::Intake(intake) => *intake,
            Planned::Respond(_) => BodyIntake::Refuse,
            Planned::Refused => return parts.http1.give_up(),
        };
        let (input, output) = (&mut *parts.input, &mut *parts.output);
        parts
            .http1
            .plan(framing, intake, input, output, &self.limits);
        if let Planned::Respond(respond) = planned {
            let request = Request::new(parts.input, 0..0, parts.ends);
            let (span, timed) = (self.begin_span(&request), self.begin_timing(&request));
            let responded = self.respond_by_plan(respond, &mut parts.context());
            self.finish(responded, parts);
            self.end_timing(timed, parts.counters);
            self.end_span(span);
        }
    }

    /// Passes a piece of the body to the sink.
    #[inline(never)]
    fn take_piece(&mut self, piece: Range<usize>, parts: &mut Parts<'_>) {
        let bytes = &parts.input.unread()[piece.clone()];
        let received = parts.input.received() + bytes.len() as u64;
        let flow = self.piece(parts.exchange, bytes, received, parts.conn);
        parts.http1.piece_taken(piece, parts.input);
        match flow {
            Ok(Flow::Continue) => {}
            Ok(Flow::Pause) => parts.http1.pause(self.now),
            Ok(Flow::Respond) => parts.http1.respond_now(parts.input, &self.limits),
            Err(panic) => {
                self.sink_failed(panic, &mut parts.context());
                parts.http1.give_up();
            }
        }
    }

    /// A response, or the rest of one, is pending. Returns how the turn ends; `None` if it continues.
    #[inline(never)]
    fn draw_body(&mut self, parts: &mut Parts<'_>) -> Option<Turn> {
        let body = parts.exchange.as_ref().and_then(|exchange| exchange.body());
        if !body.is_some_and(StreamedBody::is_drawn) {
            return Some(Turn::Wait);
        }
        let outcome = self.draw(&mut parts.context());
        self.settle(outcome, parts);
        match outcome {
            Outcome::Unchanged => Some(Turn::Rest),
            Outcome::Progress => Some(Turn::Again),
            _ => None,
        }
    }

    /// Passes the result of a step of the exchange to the state machine.
    fn settle(&mut self, outcome: Outcome, parts: &mut Parts<'_>) {
        match outcome {
            Outcome::Unchanged | Outcome::Progress => {}
            Outcome::Complete { close } => parts.http1.responded(close, parts.input, self.now),
            Outcome::Aborted => _ = parts.http1.cut(),
            Outcome::Sink(Flow::Respond) => parts.http1.respond_now(parts.input, &self.limits),
            Outcome::Sink(_) => parts.http1.resume(parts.input, self.now),
        }
    }

    /// Handles a command of another thread, if it names the current exchange.
    pub(super) fn take_command(
        &mut self,
        command: WorkerCommand,
        parts: &mut Parts<'_>,
        _upgrades: &mut impl Upgrades<P::Target>,
    ) {
        let id = parts.exchange.as_ref().and_then(|exchange| exchange.id());
        if id.is_none() || id != command.request() {
            return;
        }
        let mode = match &command {
            WorkerCommand::Respond(..) => parts.http1.mode(),
            #[cfg(feature = "websocket")]
            WorkerCommand::Accept(..) => parts.http1.mode(),
            _ => parts.http1.last_mode(),
        };
        let cx = &mut parts.context_for(mode);
        let outcome = match command {
            #[cfg(feature = "websocket")]
            WorkerCommand::Accept(_, fields) => self.accept(&fields, _upgrades, cx),
            command => self.command(command, cx),
        };
        self.settle(outcome, parts);
        self.end_events_of(parts);
    }

    /// The server stops: this connection accepts no request after the bytes that it has received, of which
    /// `unread` bytes are not handled yet. Streams of events end here, because they would never end by
    /// themselves.
    pub(super) fn stop(&mut self, unread: usize, parts: &mut Parts<'_>) {
        parts.http1.stop(unread, self.now);
        self.end_events_of(parts);
    }

    fn end_events_of(&mut self, parts: &mut Parts<'_>) {
        if parts.http1.is_stopping() {
            let outcome = self.end_events(&mut parts.context());
            self.settle(outcome, parts);
        }
    }

    /// Memory is short: refuses the request that is arriving. False if there is none.
    pub(super) fn refuse_memory(&mut self, parts: &mut Parts<'_>) -> bool {
        let is_refused = parts.http1.give_way();
        parts.counters.overloaded.add(u64::from(is_refused));
        is_refused
    }

    /// The deadline of the connection has passed. `None` if the connection continues.
    pub(super) fn expire(&mut self, parts: &mut Parts<'_>) -> Option<Close> {
        if let Some(outcome) = self.beat(&mut parts.context()) {
            self.settle(outcome, parts);
            return None;
        }
        let close = parts.http1.expire();
        let is_cut = match close.reason {
            CloseReason::ResponseTimeout => self.time_out(&mut parts.context()),
            _ => false,
        };
        self.report_close(close, parts);
        // In the middle of a body no error response can be sent.
        Some(match is_cut {
            true => parts.http1.cut(),
            false => close,
        })
    }

    /// Ends the exchange, if there is one, and reports why the connection is closed.
    #[inline(never)]
    pub(super) fn report_close(&mut self, close: Close, parts: &mut Parts<'_>) {
        self.end(parts.exchange);
        match close.reason {
            CloseReason::Refused(error) => {
                self.refuse_with(error, &mut parts.context());
            }
            CloseReason::ClientGone => {
                parts.counters.connection_errors.add(1);
                parts.counters.clients_gone.add(1);
                self.report(&ConnectionError::ClientGone, parts.ends);
                // Of half a head there is no entry.
                if parts.input.head.is_complete() {
                    let request = Request::of_head(parts.input, parts.ends);
                    self.tell_gone(request, parts.http1.since(), parts.ends);
                }
            }
            CloseReason::ResponseTimeout => {
                parts.counters.handler_errors.add(1);
                parts.counters.response_timeouts.add(1);
                self.report(&ConnectionError::ResponseTimeout, parts.ends);
            }
            CloseReason::Finished
            | CloseReason::ClientDone
            | CloseReason::IdleTimeout
            | CloseReason::ResponseCut => {}
        }
    }
}
