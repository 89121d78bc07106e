//! One turn of one HTTP connection. The only caller of a handler.
//!
//! It knows handlers, but no sockets. So the same code serves the workers and the connections of `testing`.

mod deferred;
mod error;
mod exchange;
mod logged;
mod pace;
mod request_body;

pub(crate) use exchange::Exchange;
pub(crate) use logged::Left;
pub(crate) use pace::Pace;

use super::handler::{ConnectionError, Handler, answer_special, is_for_library};
use super::request::Request;
use super::response::{Done, Response, ResponseRecorder};
use crate::http::response::error::ResponseError;
use crate::log::event;
use crate::metrics::WorkerCounters;
use crate::runtime::socket::Ends;
use crate::shared::id::ConnId;
use crate::shared::output::Output;
use crate::shared::panic_guard::{Panic, catch, drop_quietly, quietly};
use crate::shared::quota::Share;
use deferred::{CROWDED, Drawn};
use peregrine_protocol::Seconds;
use peregrine_protocol::error::ProtocolError;
use peregrine_protocol::h1::connection::{Close, CloseReason, Http1, Next, RequestParts};
use peregrine_protocol::h1::read_buf::Input;
use peregrine_protocol::http::host;
use peregrine_protocol::limits::Limits;
#[cfg(feature = "websocket")]
use peregrine_protocol::ws::handshake;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

/// How requests for another protocol are handled.
pub(crate) trait Upgrades<H> {
    /// Responds to such a request, or gives the response back.
    fn offer<'r>(
        &mut self,
        handler: &H,
        request: &Request<'_>,
        response: Response<'r>,
    ) -> Result<Done, Response<'r>>;

    /// Whether the last upgrade was accepted, so that the connection has to be handed over.
    fn is_accepted(&self) -> bool;
}

/// Accepts no upgrade. A server ignores an `Upgrade` to a protocol that it does not support (RFC 9110 section 7.8).
///
/// The mode of a [`Server`](crate::Server) without WebSockets; it holds none of their code.
#[derive(Clone, Copy, Debug)]
pub struct NoUpgrade;

impl<H: Handler> Upgrades<H> for NoUpgrade {
    #[inline(always)]
    fn offer<'r>(
        &mut self,
        _handler: &H,
        _request: &Request<'_>,
        response: Response<'r>,
    ) -> Result<Done, Response<'r>> {
        #[cfg(feature = "websocket")]
        if _request.may_upgrade() {
            tell_of_websocket(_handler, _request);
        }
        Err(response)
    }

    #[inline(always)]
    fn is_accepted(&self) -> bool {
        false
    }
}

/// Perhaps the program lacks a call of [`Server::websocket`](crate::Server::websocket).
#[cfg(feature = "websocket")]
#[cold]
#[inline(never)]
fn tell_of_websocket<H: Handler>(handler: &H, request: &Request<'_>) {
    if handshake::is_wanted(request.header_all("upgrade")) {
        let error = ConnectionError::NoWebSockets;
        // Any client can send such a request, so not every one gets a warning in production.
        if cfg!(debug_assertions) {
            event!(Warn, "{error}");
        }
        report(handler, &error, request.ends());
    }
}

/// A pointer to a handler: an `Arc` in a worker, a reference in a test.
pub(crate) trait HandlerRef: Deref<Target: Handler + Sized> {}

impl<P: Deref<Target: Handler + Sized>> HandlerRef for P {}

/// The state that serves connections, beside the connections themselves.
///
/// `P` points to the handler: an `Arc` in a worker, a reference in a test.
pub(crate) struct Service<P> {
    pub(crate) handler: P,
    pub(crate) limits: Limits,
    /// The host names that are served. `None`: all.
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) recorder: ResponseRecorder,
    pub(crate) now: Seconds,
    /// Whether calls of the handler are timed.
    pub(crate) is_timed: bool,
    /// Exchanges of earlier requests, for later ones.
    #[expect(clippy::vec_box, reason = "it is the boxes that are kept")]
    pub(crate) spare: Vec<Box<Exchange>>,
    /// The limit on connections, for streams of events.
    pub(crate) lasting: Arc<Share>,
}

/// The parts of one connection that a turn uses.
pub(crate) struct Parts<'a> {
    pub(crate) http1: &'a mut Http1,
    pub(crate) input: &'a mut Input,
    pub(crate) output: &'a mut Output,
    /// The one that is under way, if it is not answered at once.
    pub(crate) exchange: &'a mut Option<Box<Exchange>>,
    pub(crate) conn: ConnId,
    pub(crate) ends: &'a dyn Ends,
    pub(crate) counters: &'a WorkerCounters,
}

/// When [`Service::expire`] is due for a connection that waits for its client, or for a response.
pub(crate) fn deadline(
    http1: &Http1,
    input: Option<&Input>,
    exchange: Option<&Exchange>,
    limits: &Limits,
) -> Seconds {
    let body = exchange.and_then(Exchange::body);
    match body.and_then(|body| body.heartbeat) {
        Some(every) if http1.is_waiting() => http1.waited(every),
        _ => http1.deadline(input, limits),
    }
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
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
    }
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Handles the requests in the input, within the limits of one turn.
    pub(crate) fn turn(
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
            let output = &*parts.output;
            if output.len() > self.limits.output_bytes as u64
                || output.segments() > 0 && output.segments() >= self.limits.output_files
            {
                return Turn::Blocked;
            }
            let http1 = &mut parts.http1;
            let next = http1.next(parts.input, &self.limits, self.now);
            let has_more = || http1.has_more(parts.input);
            pace.begin(self.limits.turn_time, has_more);
            if is_over && is_new(&next, parts) {
                parts.counters.overloaded.add(1);
                parts.http1.refuse(ProtocolError::Overloaded);
                continue;
            }
            match next {
                Next::Request(_) | Next::Plan(_) if self.is_elsewhere(parts) => {
                    parts.http1.refuse(ProtocolError::HostNotAllowed);
                }
                Next::Request(request) => {
                    self.answer(&request, parts, upgrades);
                    if upgrades.is_accepted() {
                        return Turn::Upgrade;
                    }
                }
                Next::Plan(framing) => self.plan(framing, parts),
                Next::Piece(piece) => self.piece(piece, parts),
                Next::Read => return Turn::Read,
                Next::Wait => match self.draw(parts) {
                    Drawn::Nothing => return Turn::Wait,
                    Drawn::Empty => return Turn::Rest,
                    Drawn::Some => return Turn::Again,
                    Drawn::All => {}
                },
                Next::Close(close) => {
                    self.end(parts.exchange.take());
                    self.report_close(close, parts);
                    return Turn::Close(close);
                }
            }
        }
        Turn::Again
    }

    /// Memory is short: refuses the request that is arriving. False if there is none.
    pub(crate) fn refuse_memory(&mut self, parts: &mut Parts<'_>) -> bool {
        let is_refused = parts.http1.give_way();
        parts.counters.overloaded.add(u64::from(is_refused));
        is_refused
    }

    /// Whether the request is for a host that is not allowed.
    #[inline]
    fn is_elsewhere(&self, parts: &Parts<'_>) -> bool {
        let Some(allowed) = &self.hosts else {
            return false;
        };
        let host = Request::new(parts.input, 0..0, parts.ends).host();
        !host::is_allowed(host.unwrap_or_default(), allowed)
    }

    #[inline]
    fn answer(
        &mut self,
        request: &RequestParts,
        parts: &mut Parts<'_>,
        upgrades: &mut impl Upgrades<P::Target>,
    ) {
        match self.is_timed {
            false => self.call(request, parts, upgrades),
            true => self.call_timed(request, parts, upgrades),
        }
    }

    #[cold]
    #[inline(never)]
    fn call_timed(
        &mut self,
        request: &RequestParts,
        parts: &mut Parts<'_>,
        upgrades: &mut impl Upgrades<P::Target>,
    ) {
        let from = Instant::now();
        self.call(request, parts, upgrades);
        parts.counters.handler_took(from.elapsed());
    }

    #[inline(always)]
    fn call(
        &mut self,
        announced: &RequestParts,
        parts: &mut Parts<'_>,
        upgrades: &mut impl Upgrades<P::Target>,
    ) {
        if parts.exchange.is_some() {
            return self.answer_by_sink(announced.mode, parts);
        }
        // The handler is shared by reference and has to be sound after a panic in any case, because other
        // threads continue to use it. `fail` removes the unfinished output. All values are made inside the
        // closure; others would go through memory.
        let answered = catch(|| {
            let mode = announced.mode;
            let response = self.recorder.response(mode, parts.output);
            let request = Request::new(parts.input, announced.body.clone(), parts.ends);
            let handler = &*self.handler;
            let _done: Done = if mode.method.is_special() && is_for_library(handler, &request) {
                answer_special(&request, response)
            } else {
                match upgrades.offer(handler, &request, response) {
                    Ok(done) => done,
                    Err(response) => handler.handle_request(&request, response),
                }
            };
        });
        self.finish(answered, parts);
    }

    /// Completes a request after its handler has returned.
    #[inline(always)]
    fn finish(&mut self, answered: Result<(), Panic>, parts: &mut Parts<'_>) {
        parts.counters.requests.add(1);
        match (answered, self.recorder.is_complete()) {
            (Ok(()), Some(close)) => {
                parts.counters.answered(self.recorder.status());
                parts.http1.finish(close, parts.input, self.now);
            }
            (Ok(()), None) => self.finish_unusual(parts),
            (Err(panic), _) => self.finish_panicked(panic, parts),
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_panicked(&mut self, panic: Panic, parts: &mut Parts<'_>) {
        self.finish_failed(&ResponseFailure::Panic(panic), parts);
    }

    #[inline(never)]
    fn finish_unusual(&mut self, parts: &mut Parts<'_>) {
        match self.recorder.later() {
            Ok(mut body) => {
                if body.as_mut().is_some_and(|body| !self.can_last(body)) {
                    return self.finish_with(503, CROWDED, parts);
                }
                if body.is_some() {
                    parts.counters.answered(self.recorder.status());
                }
                self.keep(parts);
                parts.http1.defer(parts.input, self.now);
                self.begin_body(body, parts);
            }
            Err(error) => self.finish_failed(&ResponseFailure::Answer(error), parts),
        }
    }

    #[cold]
    fn finish_failed(&mut self, failure: &ResponseFailure, parts: &mut Parts<'_>) {
        self.fail(failure, parts);
        self.finish_with(500, NOT_ANSWERED, parts);
    }

    /// Sends an error response instead of that of the handler, which cannot be sent.
    #[cold]
    fn finish_with(&mut self, status: u16, text: &str, parts: &mut Parts<'_>) {
        self.recorder.take_back(parts.output);
        let body_bytes = self.error_response(status, text, parts);
        parts.counters.answered(status);
        match self.recorder.log.take() {
            Some(entry) => entry.complete_with(status, body_bytes, parts.output),
            None => self.tell(status, body_bytes, parts),
        }
        parts.http1.finish(true, parts.input, self.now);
    }

    fn fail(&self, failure: &ResponseFailure, parts: &Parts<'_>) {
        match failure {
            ResponseFailure::Panic(_) => parts.counters.panicked(1),
            _ => parts.counters.handler_errors.add(1),
        }
        failure.report(&*self.handler, parts.ends);
    }

    /// The deadline of the connection has passed. `None` if the connection continues.
    pub(crate) fn expire(&mut self, parts: &mut Parts<'_>) -> Option<Close> {
        if self.beat(parts) {
            return None;
        }
        let mut exchange = parts.exchange.take();
        let sink = exchange.as_mut().and_then(|exchange| exchange.sink.take());
        drop_quietly(sink);
        let is_streaming = exchange.as_ref().is_some_and(|e| e.body().is_some());
        let close = parts.http1.expire();
        if close.reason == CloseReason::ResponseTimeout {
            let body_bytes = match is_streaming {
                true => 0,
                false => {
                    parts.counters.answered(503);
                    self.error_response(503, "the response took too long", parts)
                }
            };
            self.tell_timeout(exchange.as_deref_mut(), body_bytes, parts);
        }
        self.end(exchange);
        self.report_close(close, parts);
        // In the middle of a body no error response can be sent.
        Some(match is_streaming {
            true => parts.http1.cut(),
            false => close,
        })
    }

    #[inline(never)]
    fn report_close(&mut self, close: Close, parts: &mut Parts<'_>) {
        match close.reason {
            CloseReason::Refused(error) => {
                let body_bytes = self.error_response(error.status(), error.text(), parts);
                parts.counters.refused_with(error.status());
                self.report(&ConnectionError::Refused(error), parts.ends);
                self.tell(error.status(), body_bytes, parts);
            }
            CloseReason::ClientGone => {
                parts.counters.connection_errors.add(1);
                parts.counters.clients_gone.add(1);
                self.report(&ConnectionError::ClientGone, parts.ends);
                self.tell_gone(parts);
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

    /// Calls `Handler::handle_error`, and contains its panics.
    pub(crate) fn report(&self, error: &ConnectionError<'_>, ends: &dyn Ends) {
        report(&*self.handler, error, ends);
    }
}

/// The text of the response after a [`ResponseFailure`].
const NOT_ANSWERED: &str = "the server could not respond to this request";

/// Why there is no response.
enum ResponseFailure {
    Panic(Panic),
    Answer(ResponseError),
}

impl ResponseFailure {
    fn report<H: Handler>(&self, handler: &H, ends: &dyn Ends) {
        let error = match self {
            ResponseFailure::Answer(error) => ConnectionError::Response(error),
            ResponseFailure::Panic(panic) => ConnectionError::Panicked(panic.message()),
        };
        event!(Error, "the response failed: {error}");
        report(handler, &error, ends);
    }
}

pub(crate) fn report<H: Handler>(handler: &H, error: &ConnectionError<'_>, ends: &dyn Ends) {
    let peer = ends.peer_addr();
    event!(Debug, { peer: Shown(peer) }, "{}", error);
    let tell = || handler.handle_error(error, peer);
    quietly("handle_error", tell);
}

/// A client in an event of the log: its address, or that it has none.
struct Shown(Option<SocketAddr>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(addr) => addr.fmt(f),
            None => f.write_str("none"),
        }
    }
}
