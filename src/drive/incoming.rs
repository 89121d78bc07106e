//! Request bodies that are looked at before they are complete.

use super::{Failure, Parts, Service};
use crate::conn::{
    http1::Plan,
    panic_guard::{catch, drop_quietly},
};
use crate::handler::{Handler, is_for_library};
use crate::incoming::{BodyPlan, BodySink, Flow, Incoming, Respond};
use crate::protocol::encode;
use crate::request::Request;
use crate::response::{AnswerError, Done};
use std::ops::Deref;

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Asks the handler what shall become of a body.
    #[inline(never)]
    pub(super) fn plan(&mut self, parts: &mut Parts<'_>) {
        let request = Request::new(parts.input, parts.ends);
        let handler = &*self.handler;
        let planned = catch(|| match is_for_library(handler, &request) {
            true => BodyPlan::Unread,
            false => handler.body_plan(&request),
        });
        let plan = match planned {
            Ok(BodyPlan::Buffer) => Plan::Buffer(self.limits.body_bytes as u64),
            Ok(BodyPlan::BufferUpTo(most)) => Plan::Buffer(most as u64),
            Ok(BodyPlan::Stream(sink, most)) => {
                *parts.sink = Some(sink);
                Plan::Pieces(most)
            }
            Ok(BodyPlan::Unread) => Plan::Unread,
            Ok(BodyPlan::Refuse(status @ 400..=599)) => {
                parts.counters.refused_with(status);
                return self.refuse_body(status, parts);
            }
            Ok(BodyPlan::Refuse(status)) => {
                return self.fail_plan(&Failure::Answer(AnswerError::Status(status)), parts);
            }
            Ok(BodyPlan::Respond(respond)) => return self.respond(respond, parts),
            Err(panic) => return self.fail_plan(&Failure::Panic(panic), parts),
        };
        let output = &mut *parts.output;
        parts.http1.plan(plan, parts.input, output, &self.limits);
    }

    fn fail_plan(&mut self, failure: &Failure, parts: &mut Parts<'_>) {
        self.fail(failure, parts);
        parts.counters.answered(500);
        self.refuse_body(500, parts);
    }

    fn refuse_body(&mut self, status: u16, parts: &mut Parts<'_>) {
        let body_bytes = self.error_response(status, encode::reason(status), parts);
        parts.http1.give_up();
        self.tell(status, body_bytes, parts);
    }

    /// Answers without the body, which nobody reads any more.
    fn respond(&mut self, respond: Respond, parts: &mut Parts<'_>) {
        let output = &mut *parts.output;
        parts
            .http1
            .plan(Plan::Refuse, parts.input, output, &self.limits);
        let response = self.wire.response(parts.http1.mode(), parts.output);
        let request = Request::new(parts.input, parts.ends);
        let answered = catch(|| {
            let _done: Done = respond(&request, response);
        });
        self.finish(answered, parts);
    }

    /// Hands a piece of the body to its sink.
    #[inline(never)]
    pub(super) fn piece(&mut self, parts: &mut Parts<'_>) {
        let piece = &parts.input.unread()[parts.input.body.clone()];
        let mut incoming = Incoming {
            received: parts.input.received() + piece.len() as u64,
            door: &self.wire.door,
            place: parts.place,
            tickets: &mut self.wire.tickets,
        };
        let sink = parts.sink.as_mut();
        let flow = catch(|| match sink {
            Some(sink) => sink.piece(piece, &mut incoming),
            None => Flow::Answer,
        });
        parts.http1.piece_taken(parts.input);
        match flow {
            Ok(Flow::Continue) => {}
            Ok(Flow::Pause) => parts.http1.pause(self.now),
            Ok(Flow::Answer) => parts.http1.answer_now(parts.input, &self.limits),
            Err(panic) => {
                self.fail(&Failure::Panic(panic), parts);
                self.drop_sink(parts);
                let text = "the server could not take this request";
                let body_bytes = self.error_response(500, text, parts);
                parts.http1.give_up();
                self.tell(500, body_bytes, parts);
            }
        }
    }

    /// The body is complete, or complete enough for its sink.
    #[inline(never)]
    pub(super) fn answer_by(&mut self, sink: Box<dyn BodySink>, parts: &mut Parts<'_>) {
        // The answer may be put off in its turn, under another ticket.
        self.wire.door.leave(parts.place);
        let response = self.wire.response(parts.http1.mode(), parts.output);
        let request = Request::new(parts.input, parts.ends);
        let answered = catch(|| {
            let _done: Done = sink.finish(&request, response);
        });
        self.finish(answered, parts);
    }

    /// A sink that has paused goes on, or answers.
    pub(super) fn resume(&mut self, flow: Flow, parts: &mut Parts<'_>) {
        if parts.sink.is_none() {
            return;
        }
        match flow {
            Flow::Answer => parts.http1.answer_now(parts.input, &self.limits),
            Flow::Continue | Flow::Pause => parts.http1.resume(parts.input, self.now),
        }
    }

    /// The body will never be complete.
    #[inline(never)]
    pub(super) fn drop_sink(&mut self, parts: &mut Parts<'_>) {
        if let Some(sink) = parts.sink.take() {
            self.wire.door.leave(parts.place);
            drop_quietly(sink);
        }
    }
}
