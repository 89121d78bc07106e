//! Request bodies that a sink receives piece by piece.

use super::{Exchange, ExchangeContext, ResponseFailure, Service};
use crate::http::handler::{Handler, is_for_library};
use crate::http::request_body::flow::Flow;
use crate::http::request_body::{BodyPlan, BodySink, Incoming, Respond};
use crate::http::response::Done;
use crate::http::response::error::ResponseError;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::{Panic, catch};
use peregrine_protocol::http::encode;
use peregrine_protocol::http::exchange::BodyIntake;
use std::ops::Deref;

/// The plan of a handler for a body.
pub(crate) enum Planned {
    /// The body is received in this way.
    Intake(BodyIntake),
    /// This function responds, and the body is not read.
    Respond(Respond),
    /// The request is refused. The response is in the output.
    Refused,
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Asks the handler for the plan of a body.
    pub(crate) fn plan(&mut self, cx: &mut ExchangeContext<'_>) -> Planned {
        let handler = &*self.handler;
        let planned = catch(|| match &cx.request {
            Some(request) if !is_for_library(handler, request) => handler.body_plan(request),
            _ => BodyPlan::Unread,
        });
        let failure = match planned {
            Ok(BodyPlan::Buffer) => {
                return Planned::Intake(BodyIntake::Buffer(self.limits.body_bytes as u64));
            }
            Ok(BodyPlan::BufferUpTo(most)) => {
                return Planned::Intake(BodyIntake::Buffer(most as u64));
            }
            Ok(BodyPlan::Stream(sink)) => match self.begin_sink(sink, cx) {
                Ok(()) => return Planned::Intake(BodyIntake::Pieces(self.limits.stream_bytes)),
                Err(panic) => ResponseFailure::Panic(panic),
            },
            Ok(BodyPlan::StreamUpTo(sink, most)) => match self.begin_sink(sink, cx) {
                Ok(()) => return Planned::Intake(BodyIntake::Pieces(most)),
                Err(panic) => ResponseFailure::Panic(panic),
            },
            Ok(BodyPlan::Unread) => return Planned::Intake(BodyIntake::Unread),
            Ok(BodyPlan::Respond(respond)) => return Planned::Respond(respond),
            Ok(BodyPlan::Refuse(status @ 400..=599)) => {
                cx.counters.refused_with(status);
                self.refuse_body(status, cx);
                return Planned::Refused;
            }
            Ok(BodyPlan::Refuse(status)) => {
                ResponseFailure::Response(ResponseError::Status(status))
            }
            Err(panic) => ResponseFailure::Panic(panic),
        };
        self.fail(&failure, cx);
        cx.counters.count_status(500);
        self.refuse_body(500, cx);
        Planned::Refused
    }

    /// The exchange gets a sink for its body.
    fn begin_sink(
        &mut self,
        sink: Box<dyn BodySink>,
        cx: &mut ExchangeContext<'_>,
    ) -> Result<(), Panic> {
        let exchange = self.exchange(cx.exchange);
        let sink = exchange.sink.insert(sink);
        let mut incoming = Incoming {
            received: 0,
            conn: self.recorder.conn(),
            handle: &self.recorder.handle,
            id: &mut exchange.id,
            ids: &mut self.recorder.ids,
        };
        catch(|| sink.begin(&mut incoming))
    }

    fn refuse_body(&mut self, status: u16, cx: &mut ExchangeContext<'_>) {
        let body_bytes = self.error_response(status, encode::reason(status), cx);
        self.tell(status, body_bytes, cx);
    }

    /// Passes a piece of the body to its sink. `received`: bytes of the body so far, with this piece.
    pub(crate) fn piece(
        &mut self,
        place: &mut Option<Box<Exchange>>,
        bytes: &[u8],
        received: u64,
        conn: ConnId,
    ) -> Result<Flow, Panic> {
        let now = self.now;
        let exchange = self.exchange(place);
        exchange.since = now;
        let Exchange { id, sink, .. } = exchange;
        let mut incoming = Incoming {
            received,
            handle: &self.recorder.handle,
            conn,
            id,
            ids: &mut self.recorder.ids,
        };
        catch(|| match sink {
            Some(sink) => sink.piece(bytes, &mut incoming),
            None => Flow::Respond,
        })
    }

    /// A sink has panicked: writes a 500 instead of its response.
    #[cold]
    pub(crate) fn sink_failed(&mut self, panic: Panic, cx: &mut ExchangeContext<'_>) {
        self.fail(&ResponseFailure::Panic(panic), cx);
        self.end(cx.exchange);
        let text = "the server could not accept this request";
        let body_bytes = self.error_response(500, text, cx);
        self.tell(500, body_bytes, cx);
    }

    /// The body is complete, or its sink has ended it. The sink responds. The response may be deferred too, with
    /// another identifier.
    pub(crate) fn respond_by_sink(&mut self, cx: &mut ExchangeContext<'_>) -> Result<(), Panic> {
        let sink = cx
            .exchange
            .as_mut()
            .and_then(|exchange| exchange.sink.take());
        self.end(cx.exchange);
        let response = self.recorder.response_for(cx.mode, cx.output);
        catch(|| {
            let sink = sink.zip(cx.request);
            let _done: Option<Done> = sink.map(|(sink, request)| sink.finish(&request, response));
        })
    }

    /// Responds to a request whose body is not read.
    pub(crate) fn respond_by_plan(
        &mut self,
        respond: Respond,
        cx: &mut ExchangeContext<'_>,
    ) -> Result<(), Panic> {
        let response = self.recorder.response_for(cx.mode, cx.output);
        catch(|| {
            let _done: Option<Done> = cx.request.map(|request| respond(&request, response));
        })
    }
}
