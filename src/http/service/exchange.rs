//! `Exchange`: one request and its response.
//!
//! # How a protocol uses it
//!
//! The [`Service`] does what belongs to an exchange, whatever the version of HTTP: it asks for the plan of a
//! body, hands pieces to a sink, applies deferred responses and pieces of bodies, counts and logs. It never
//! sees the protocol of a connection. [`super::super::h1`] and `super::super::h2` use it:
//!
//! - The protocol keeps a place for an exchange, an `Option<Box<Exchange>>`, beside the state of each request.
//!   HTTP/1 has one place in a connection, HTTP/2 one in each stream. It is empty while nothing has to be kept.
//! - For each call of the service it makes an [`ExchangeContext`]: the place, the output of this response,
//!   and what the service has to know of the request.
//! - The service returns an [`Outcome`], and the protocol acts on it: by the end of its message, or by a
//!   reset.
//! - A command of another thread names a [`RequestId`]. The protocol finds the exchange that
//!   [has](Exchange::id) this identifier.
//! - The time limit of a response is [`Exchange::deadline`]. It applies while the protocol waits for the
//!   response, or for a sink that has paused; other time limits belong to the protocol.
//! - Each exchange ends by [`Service::end`], or [`Service::leave`] if the connection is closed.

use super::Service;
use crate::http::access_entry::PendingEntry;
#[cfg(feature = "websocket")]
use crate::http::deferred::handshake::Handshake;
use crate::http::deferred::streamed_body::StreamedBody;
use crate::http::request::Request;
use crate::http::request_body::BodySink;
use crate::http::request_body::flow::Flow;
use crate::http::response::always::Always;
use crate::metrics::WorkerCounters;
use crate::runtime::socket::Ends;
use crate::shared::id::RequestId;
use crate::shared::output::Output;
use crate::shared::panic_guard::drop_quietly;
use peregrine_protocol::Seconds;
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::limits::Limits;
#[cfg(feature = "http2")]
use peregrine_protocol::{
    h1::response_encoder::{Coding, ResponseFraming},
    http::response::BodySize,
};
use std::time::Instant;

/// The state of a request whose response is not complete at once: its body goes to a sink, or the response
/// comes later or in pieces.
///
/// Invariant: it is in the table of pending requests exactly if it has an identifier, until
/// [`Service::end`] takes both away.
#[derive(Default)]
pub(crate) struct Exchange {
    /// The identifier that other threads use.
    pub(super) id: Option<RequestId>,
    /// Receives the body of the request.
    pub(super) sink: Option<Box<dyn BodySink>>,
    /// The rest of the response.
    pub(super) body: Option<Box<StreamedBody>>,
    /// The entry of the access log.
    pub(super) log: Option<Box<PendingEntry>>,
    /// What stays if an error response replaces the one that is awaited.
    pub(super) always: Option<Box<Always>>,
    /// What the program decides later instead of a response.
    #[cfg(feature = "websocket")]
    pub(super) handshake: Option<Box<Handshake>>,
    /// When its response was deferred, last grew, or its sink paused.
    pub(super) since: Seconds,
    /// When the turn of its request began, if that was timed and the head of the response is not complete.
    pub(super) woke: Option<Instant>,
    /// The span of the request, until the head of the response is complete.
    #[cfg(feature = "tracing")]
    pub(super) span: Option<tracing::Span>,
}

impl Exchange {
    /// The identifier that other threads use, if they have one.
    pub(crate) fn id(&self) -> Option<RequestId> {
        self.id
    }

    /// Whether a sink receives the body of the request.
    pub(crate) fn has_sink(&self) -> bool {
        self.sink.is_some()
    }

    /// Whether it waits for the decision about a handshake.
    pub(crate) fn is_undecided(&self) -> bool {
        #[cfg(feature = "websocket")]
        return self.handshake.is_some();
        #[cfg(not(feature = "websocket"))]
        false
    }

    /// The rest of the response, if its head has been sent.
    pub(crate) fn body(&self) -> Option<&StreamedBody> {
        self.body.as_deref()
    }

    /// Whether the rest of the response is a stream of events.
    pub(crate) fn has_events(&self) -> bool {
        self.body().is_some_and(|body| body.heartbeat.is_some())
    }

    /// The head of the response is sent, in HTTP/2: a body of this size follows, without a framing of its own.
    #[cfg(feature = "http2")]
    pub(crate) fn begin_body(&mut self, size: BodySize) {
        if let Some(body) = &mut self.body {
            body.begin(ResponseFraming {
                coding: Some(match size {
                    BodySize::Known(len) => Coding::Exact(len),
                    BodySize::Unknown => Coding::Close,
                }),
                close: false,
            });
        }
    }

    /// When [`Service::beat`] is due; if that does nothing, the time limit of the response has passed.
    pub(crate) fn deadline(&self, limits: &Limits) -> Seconds {
        let heartbeat = self.body.as_ref().and_then(|body| body.heartbeat);
        let own = self.always.as_ref().and_then(|always| always.timeout);
        let timeout = heartbeat.or(own).unwrap_or(limits.response_timeout);
        self.since.after(timeout)
    }
}

/// One exchange, and what the service needs of its connection.
pub(crate) struct ExchangeContext<'a> {
    /// The place of the exchange.
    pub(crate) exchange: &'a mut Option<Box<Exchange>>,
    /// Where its response goes.
    pub(crate) output: &'a mut Output,
    /// The request, if its head is still there.
    pub(crate) request: Option<Request<'a>>,
    /// How the request wants its response.
    pub(crate) mode: ResponseContext,
    /// When its protocol last had to do with the request.
    pub(crate) since: Seconds,
    pub(crate) ends: &'a dyn Ends,
    pub(crate) counters: &'a WorkerCounters,
}

impl ExchangeContext<'_> {
    /// The head of a deferred response is complete.
    pub(super) fn head_is_complete(&mut self, status: u16) {
        self.counters.count_status(status);
        let Some(exchange) = self.exchange else {
            return;
        };
        #[cfg(feature = "tracing")]
        if let Some(span) = exchange.span.take() {
            super::span::record_status(&span, status);
        }
        if let Some(woke) = exchange.woke.take() {
            self.counters.response_times.add(woke.elapsed());
        }
    }

    /// The rest of the response, if there is any.
    pub(super) fn body(&mut self) -> Option<&mut StreamedBody> {
        self.exchange.as_mut()?.body.as_deref_mut()
    }

    /// The rest of the response, if that is a stream of events.
    pub(super) fn events(&mut self) -> Option<&mut StreamedBody> {
        self.body().filter(|body| body.heartbeat.is_some())
    }
}

/// The result of a step of an exchange. The protocol of the connection acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No byte has arrived. The time limit of the response continues.
    Unchanged,
    /// A part of the response has arrived, and more is pending.
    Progress,
    /// The response is complete, and the exchange has ended.
    Complete {
        /// No further response follows on the connection.
        close: bool,
    },
    /// The exchange has ended, and the rest of its response will never come. The client has to see that the
    /// response is incomplete.
    Aborted,
    /// The sink of the request body wants this.
    Sink(Flow),
}

/// The number of exchanges that are kept for later requests, so that an exchange needs no allocation.
const SPARE: usize = 64;

impl<P> Service<P> {
    /// The exchange in this place. Begins one if there is none.
    pub(super) fn exchange<'a>(
        &mut self,
        place: &'a mut Option<Box<Exchange>>,
    ) -> &'a mut Exchange {
        let spare = &mut self.spare;
        place.get_or_insert_with(|| spare.pop().unwrap_or_default())
    }

    /// Ends the exchange. From now on other threads see that it is over, and the values of users are dropped.
    pub(crate) fn end(&mut self, place: &mut Option<Box<Exchange>>) {
        self.end_id(place);
        let Some(mut exchange) = place.take() else {
            return;
        };
        let ended = std::mem::take(&mut *exchange);
        if self.spare.len() < SPARE {
            self.spare.push(exchange);
        }
        drop_quietly(ended);
    }

    /// Other threads can send nothing more.
    pub(super) fn end_id(&mut self, place: &mut Option<Box<Exchange>>) {
        let id = place.as_mut().and_then(|exchange| exchange.id.take());
        if let Some(id) = id {
            self.recorder.leave(id);
        }
    }

    /// The client has sent its last byte while the response is pending.
    pub(crate) fn client_eof(&self, exchange: Option<&Exchange>) {
        let Some(exchange) = exchange else {
            return;
        };
        if let Some(id) = exchange.id {
            self.recorder.handle.client_eof(id);
        }
        if let Some(body) = exchange.body() {
            body.client_eof();
        }
    }
}
