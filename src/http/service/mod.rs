//! Serves exchanges, in every version of HTTP. The only caller of a handler.
//!
//! It knows handlers, but no sockets and no state machine of a connection. [`exchange`] describes how a
//! protocol uses it.

mod deferred;
mod error;
mod exchange;
mod gate;
mod held;
mod logged;
mod pace;
mod request_body;
mod span;
#[cfg(feature = "websocket")]
mod undecided;

pub(crate) use exchange::{Exchange, ExchangeContext, Outcome};
pub(crate) use gate::{Gate, Refusal};
pub(crate) use pace::Pace;
pub(crate) use request_body::Planned;
#[cfg(feature = "websocket")]
pub(crate) use undecided::crowded;

use super::connection_error::ConnectionError;
use super::handler::{Handler, is_for_library, respond_special};
use super::request::Request;
use super::response::{Done, Response, ResponseRecorder};
use crate::http::response::error::ResponseError;
use crate::log::event;
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::Timing;
use crate::runtime::socket::Ends;
use crate::shared::panic_guard::{Panic, catch, quietly};
use crate::shared::quota::Share;
use peregrine_protocol::Seconds;
use peregrine_protocol::limits::Limits;
#[cfg(feature = "websocket")]
use peregrine_protocol::ws::handshake;
#[cfg(feature = "websocket")]
use std::any::Any;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// How requests for another protocol are handled.
pub(crate) trait Upgrades<H> {
    /// Responds to such a request, or gives the response back.
    fn offer<'r>(
        &mut self,
        handler: &H,
        request: &Request<'_>,
        response: Response<'r>,
    ) -> Result<Done, Response<'r>>;

    /// Accepts an upgrade that was offered before, and was decided now. `upgrade` is what the offer has left in the
    /// [`Handshake`](super::deferred::handshake::Handshake). False if there is no room.
    #[cfg(feature = "websocket")]
    fn accept(&mut self, upgrade: Box<dyn Any + Send>) -> bool;

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

    #[cfg(feature = "websocket")]
    fn accept(&mut self, _: Box<dyn Any + Send>) -> bool {
        false
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
    /// [`Config::events_retry`](crate::Config::events_retry)
    pub(crate) events_retry: Duration,
    /// What requests have to pass. `None`: nothing.
    pub(crate) gate: Option<Gate>,
    pub(crate) recorder: ResponseRecorder,
    pub(crate) now: Seconds,
    pub(crate) timing: Timing,
    /// The response to the request whose handler was called last comes later, with its head.
    pub(crate) is_later: bool,
    /// That of the request whose handler is called, until its response is complete or kept.
    #[cfg(feature = "tracing")]
    pub(crate) span: tracing::Span,
    /// Exchanges of earlier requests, for later ones.
    #[expect(clippy::vec_box, reason = "it is the boxes that are kept")]
    pub(crate) spare: Vec<Box<Exchange>>,
    /// The limit on connections, for streams of events.
    pub(crate) lasting: Arc<Share>,
}

/// Responds to a request: the library, another protocol or the handler does.
#[inline(always)]
pub(crate) fn respond<H: Handler>(
    handler: &H,
    upgrades: &mut impl Upgrades<H>,
    request: &Request<'_>,
    is_special: bool,
    response: Response<'_>,
) -> Done {
    if is_special && is_for_library(handler, request) {
        return respond_special(request, response);
    }
    match upgrades.offer(handler, request, response) {
        Ok(done) => done,
        Err(response) => handler.handle_request(request, response),
    }
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    fn fail(&self, failure: &ResponseFailure, cx: &ExchangeContext<'_>) {
        match failure {
            ResponseFailure::Panic(_) => cx.counters.panicked(1),
            ResponseFailure::Response(_) => cx.counters.handler_errors.add(1),
        }
        failure.report(&*self.handler, cx.ends);
    }

    /// Calls `Handler::handle_error`, and contains its panics.
    pub(crate) fn report(&self, error: &ConnectionError<'_>, ends: &dyn Ends) {
        report(&*self.handler, error, ends);
    }
}

/// Why there is no response.
pub(crate) enum ResponseFailure {
    Panic(Panic),
    Response(ResponseError),
}

impl ResponseFailure {
    fn report<H: Handler>(&self, handler: &H, ends: &dyn Ends) {
        let error = match self {
            ResponseFailure::Response(error) => ConnectionError::Response(error),
            ResponseFailure::Panic(panic) => ConnectionError::Panicked(panic.message()),
        };
        event!(Error, "the response failed: {error}");
        report(handler, &error, ends);
    }
}

/// The peer of what belongs to no connection.
struct NoPeer;

impl Ends for NoPeer {
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

/// Calls [`Handler::before_wait`] or [`Handler::after_wait`]. A panic in it is reported, and ends nothing.
#[inline(always)]
pub(crate) fn call_hook<H: Handler>(handler: &H, counters: &WorkerCounters, hook: fn(&H)) {
    if let Err(panic) = catch(|| hook(handler)) {
        report_panic(handler, counters, panic);
    }
}

/// Reports a panic that belongs to no connection.
#[cold]
#[inline(never)]
fn report_panic<H: Handler>(handler: &H, counters: &WorkerCounters, panic: Panic) {
    counters.panicked(1);
    ResponseFailure::Panic(panic).report(handler, &NoPeer);
}

pub(crate) fn report<H: Handler>(handler: &H, error: &ConnectionError<'_>, ends: &dyn Ends) {
    report_to(handler, error, ends.client_addr());
}

/// As [`report`], for a client with this address.
pub(crate) fn report_to<H: Handler>(
    handler: &H,
    error: &ConnectionError<'_>,
    peer: Option<SocketAddr>,
) {
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
