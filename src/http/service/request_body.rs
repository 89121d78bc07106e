//! Request bodies that a sink receives piece by piece.

use super::{Exchange, Parts, ResponseFailure, Service};
use crate::http::handler::{Handler, is_for_library};
use crate::http::request::Request;
use crate::http::request_body::flow::Flow;
use crate::http::request_body::{BodyPlan, BodySink, Incoming, Respond};
use crate::http::response::error::ResponseError;
use crate::http::response::{Done, Response};
use crate::shared::panic_guard::catch;
use peregrine_protocol::h1::connection::{BodyIntake, ResponseContext};
use peregrine_protocol::h1::encode;
use peregrine_protocol::h1::framing::Framing;
use std::ops::{Deref, Range};

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Asks the handler for the plan of a body.
    #[inline(never)]
    pub(super) fn plan(&mut self, framing: Framing, parts: &mut Parts<'_>) {
        let request = Request::new(parts.input, 0..0, parts.ends);
        let handler = &*self.handler;
        let planned = catch(|| match is_for_library(handler, &request) {
            true => BodyPlan::Unread,
            false => handler.body_plan(&request),
        });
        let plan = match planned {
            Ok(BodyPlan::Buffer) => BodyIntake::Buffer(self.limits.body_bytes as u64),
            Ok(BodyPlan::BufferUpTo(most)) => BodyIntake::Buffer(most as u64),
            Ok(BodyPlan::Stream(sink, most)) => {
                self.exchange(parts).sink = Some(sink);
                BodyIntake::Pieces(most)
            }
            Ok(BodyPlan::Unread) => BodyIntake::Unread,
            Ok(BodyPlan::Refuse(status @ 400..=599)) => {
                parts.counters.refused_with(status);
                return self.refuse_body(status, parts);
            }
            Ok(BodyPlan::Refuse(status)) => {
                return self.fail_plan(
                    &ResponseFailure::Answer(ResponseError::Status(status)),
                    parts,
                );
            }
            Ok(BodyPlan::Respond(respond)) => {
                self.exchange(parts).sink = Some(Box::new(Bodiless(respond)));
                BodyIntake::Refuse
            }
            Err(panic) => return self.fail_plan(&ResponseFailure::Panic(panic), parts),
        };
        let (input, output) = (&mut *parts.input, &mut *parts.output);
        parts.http1.plan(framing, plan, input, output, &self.limits);
    }

    fn fail_plan(&mut self, failure: &ResponseFailure, parts: &mut Parts<'_>) {
        self.fail(failure, parts);
        parts.counters.answered(500);
        self.refuse_body(500, parts);
    }

    fn refuse_body(&mut self, status: u16, parts: &mut Parts<'_>) {
        let body_bytes = self.error_response(status, encode::reason(status), parts);
        parts.http1.give_up();
        self.tell(status, body_bytes, parts);
    }

    /// Passes a piece of the body to its sink.
    #[inline(never)]
    pub(super) fn piece(&mut self, piece: Range<usize>, parts: &mut Parts<'_>) {
        let bytes = &parts.input.unread()[piece.clone()];
        let Exchange { id, sink, .. } = &mut **parts.exchange.get_or_insert_default();
        let mut incoming = Incoming {
            received: parts.input.received() + bytes.len() as u64,
            handle: &self.recorder.handle,
            conn: parts.conn,
            id,
            ids: &mut self.recorder.ids,
        };
        let flow = catch(|| match sink {
            Some(sink) => sink.piece(bytes, &mut incoming),
            None => Flow::Respond,
        });
        parts.http1.piece_taken(piece, parts.input);
        match flow {
            Ok(Flow::Continue) => {}
            Ok(Flow::Pause) => parts.http1.pause(self.now),
            Ok(Flow::Respond) => parts.http1.answer_now(parts.input, &self.limits),
            Err(panic) => {
                self.fail(&ResponseFailure::Panic(panic), parts);
                self.end(parts.exchange.take());
                let text = "the server could not accept this request";
                let body_bytes = self.error_response(500, text, parts);
                parts.http1.give_up();
                self.tell(500, body_bytes, parts);
            }
        }
    }

    /// The body is complete, or its sink has ended it.
    #[inline(never)]
    pub(super) fn answer_by_sink(&mut self, mode: ResponseContext, parts: &mut Parts<'_>) {
        let mut exchange = parts.exchange.take();
        let sink = exchange.as_mut().and_then(|exchange| exchange.sink.take());
        // The response may be deferred too, with another identifier.
        self.end(exchange);
        let response = self.recorder.response(mode, parts.output);
        let request = Request::new(parts.input, 0..0, parts.ends);
        let answered = catch(|| {
            let _done: Option<Done> = sink.map(|sink| sink.finish(&request, response));
        });
        self.finish(answered, parts);
    }

    /// Continues a sink that has paused, or lets it respond.
    pub(super) fn resume(&mut self, flow: Flow, parts: &mut Parts<'_>) {
        if parts.exchange.as_ref().is_none_or(|e| e.sink.is_none()) {
            return;
        }
        match flow {
            Flow::Respond => parts.http1.answer_now(parts.input, &self.limits),
            Flow::Continue | Flow::Pause => parts.http1.resume(parts.input, self.now),
        }
    }
}

/// Responds to a request whose body is not read.
struct Bodiless(Respond);

impl BodySink for Bodiless {
    /// There are no pieces, because the body is not read.
    fn piece(&mut self, _: &[u8], _: &mut Incoming<'_>) -> Flow {
        Flow::Respond
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        (self.0)(req, res)
    }
}
