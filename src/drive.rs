//! One turn of one connection: what has arrived goes to the handler, its answers to the output.
//!
//! Knows handlers, but no sockets: the workers in `io` and the connections of `testing` are served
//! by the same code.

use crate::conn::{
    Seconds,
    http1::{Close, CloseReason, Http1, Next},
    input::Input,
    output::Output,
};
use crate::handler::{ConnectionError, Handler};
use crate::log::event;
use crate::protocol::limits::Limits;
use crate::request::{Ends, Request};
use crate::response::{AnswerError, Done, Response, Wire};
use crate::stats::WorkerCounters;
use std::any::Any;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What becomes of requests that ask for another protocol.
pub(crate) trait Upgrades<H> {
    /// Answers such a request, or gives the response back.
    fn offer<'r>(
        &mut self,
        handler: &H,
        request: &Request<'_>,
        response: Response<'r>,
    ) -> Result<Done, Response<'r>>;

    /// The last one was accepted: the connection is to be handed over.
    fn is_accepted(&self) -> bool;
}

/// None is taken: whoever does not know the other protocol passes over it (RFC 9110 section 7.8).
///
/// The mode of a [`Server`](crate::Server) without WebSockets; it holds none of their code.
#[derive(Clone, Copy, Debug)]
pub struct Off;

impl<H> Upgrades<H> for Off {
    #[inline(always)]
    fn offer<'r>(
        &mut self,
        _: &H,
        _: &Request<'_>,
        response: Response<'r>,
    ) -> Result<Done, Response<'r>> {
        Err(response)
    }

    #[inline(always)]
    fn is_accepted(&self) -> bool {
        false
    }
}

/// What serving needs beside the connection itself.
///
/// `P` points to the handler: an `Arc` in a worker, a reference in a test.
pub(crate) struct Service<P> {
    pub(crate) handler: P,
    pub(crate) limits: Limits,
    pub(crate) wire: Wire,
    pub(crate) now: Seconds,
}

/// The parts of one connection.
pub(crate) struct Parts<'a> {
    pub(crate) http1: &'a mut Http1,
    pub(crate) input: &'a mut Input,
    pub(crate) output: &'a mut Box<Output>,
    pub(crate) ends: &'a dyn Ends,
    pub(crate) counters: &'a WorkerCounters,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// All that has come is answered.
    Read,
    /// There is more to do, but others shall have their turn first.
    Again,
    /// So much waits to be sent that nothing more is taken before it has gone.
    Blocked,
    /// Send what is in the output, then close.
    Close(Close),
    /// Another protocol follows the answer that is last in the output.
    Upgrade,
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Answers what is in the input, within the limits of one turn.
    pub(crate) fn turn(
        &mut self,
        parts: &mut Parts<'_>,
        upgrades: &mut impl Upgrades<P::Target>,
    ) -> Turn {
        std::mem::swap(&mut self.wire.output, parts.output);
        let turn = self.answer_all(parts, upgrades);
        std::mem::swap(&mut self.wire.output, parts.output);
        turn
    }

    fn answer_all(
        &mut self,
        parts: &mut Parts<'_>,
        upgrades: &mut impl Upgrades<P::Target>,
    ) -> Turn {
        for _ in 0..self.limits.requests_per_turn.max(1) {
            let Wire { output, heads, .. } = &mut self.wire;
            if output.len() > self.limits.output_bytes as u64 {
                return Turn::Blocked;
            }
            match parts
                .http1
                .next(parts.input, output, heads, &self.limits, self.now)
            {
                Next::Request => {
                    self.answer(parts, upgrades);
                    if upgrades.is_accepted() {
                        return Turn::Upgrade;
                    }
                }
                Next::Read => return Turn::Read,
                Next::Close(close) => {
                    self.report_close(close, parts);
                    return Turn::Close(close);
                }
            }
        }
        Turn::Again
    }

    fn answer(&mut self, parts: &mut Parts<'_>, upgrades: &mut impl Upgrades<P::Target>) {
        let response = self.wire.response(parts.http1.mode());
        let request = Request::new(parts.input, parts.ends);
        let handler = &*self.handler;
        // The handler is shared by reference and must be sound after a panic in any case, as other
        // threads go on using it; the output is cut back by `fail`.
        let panic = catch_unwind(AssertUnwindSafe(|| {
            match upgrades.offer(handler, &request, response) {
                Ok(done) => done,
                Err(response) => handler.handle_request(&request, response),
            }
        }));
        let outcome = match panic {
            Ok(_done) => self.wire.outcome().map_err(Failure::Answer),
            Err(panic) => Err(Failure::Panic(panic)),
        };
        let close = outcome.unwrap_or_else(|failure| {
            self.wire.fail();
            parts.counters.handler_errors.add(1);
            failure.report(&*self.handler, parts.ends);
            true
        });
        parts.counters.requests.add(1);
        parts.http1.finish(close, parts.input, self.now);
    }

    /// The connection's deadline has passed.
    pub(crate) fn expire(&mut self, parts: &mut Parts<'_>) -> Close {
        let close = parts.http1.expire(parts.output, &mut self.wire.heads);
        self.report_close(close, parts);
        close
    }

    fn report_close(&self, close: Close, parts: &Parts<'_>) {
        match close.reason {
            CloseReason::Refused(error) => {
                parts.counters.refused.add(1);
                self.report(&ConnectionError::Refused(error), parts.ends);
            }
            CloseReason::ClientGone => {
                parts.counters.connection_errors.add(1);
                self.report(&ConnectionError::ClientGone, parts.ends);
            }
            CloseReason::Finished | CloseReason::ClientDone | CloseReason::IdleTimeout => {}
        }
    }

    /// Tells the handler, which may panic without harm.
    pub(crate) fn report(&self, error: &ConnectionError<'_>, ends: &dyn Ends) {
        report(&*self.handler, error, ends);
    }
}

/// Why there is no answer.
enum Failure {
    Panic(Box<dyn Any + Send>),
    Answer(AnswerError),
}

impl Failure {
    fn report<H: Handler>(&self, handler: &H, ends: &dyn Ends) {
        let error = match self {
            Failure::Answer(error) => ConnectionError::Answer(error),
            Failure::Panic(panic) => ConnectionError::Panicked(message(&**panic)),
        };
        event!(Error, "answered 500: {error}");
        report(handler, &error, ends);
    }
}

pub(crate) fn report<H: Handler>(handler: &H, error: &ConnectionError<'_>, ends: &dyn Ends) {
    event!(Debug, "{error}");
    let tell = || handler.handle_error(error, ends.peer_addr());
    if catch_unwind(AssertUnwindSafe(tell)).is_err() {
        event!(Error, "handle_error panicked");
    }
}

pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}
