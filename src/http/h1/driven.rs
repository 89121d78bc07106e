//! What the event loop does to an HTTP connection: events, deadlines, shortage of memory.

use super::turn;
use super::{Connection, Fate, Phase, WorkerState};
use crate::http::connection_error::ConnectionError;
use crate::http::request::Request;
use crate::http::service::{HandlerRef, Upgrades};
use crate::runtime::event_loop::Driven;
use crate::runtime::link::Link;
use crate::runtime::memory_relief::{Stall, stall};
use crate::runtime::poll::Interest;
use crate::runtime::transport::Transport;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::Panic;
use peregrine_protocol::Seconds;
use peregrine_protocol::rate::Rate;
use std::io;
use std::time::Duration;

impl<P, M, T> Driven<WorkerState<P, M>> for Connection<P, M, T>
where
    P: HandlerRef,
    M: Upgrades<P::Target>,
    T: Transport,
{
    type Transport = T;

    #[inline(always)]
    fn link(&mut self) -> &mut Link<T> {
        &mut self.link
    }

    fn open(&mut self, _id: ConnId, is_stopping: bool, shared: &mut WorkerState<P, M>) -> Fate {
        match is_stopping {
            false => self.lend(shared, Connection::read),
            true => self.lend(shared, Connection::stop_serving),
        }
    }

    #[inline]
    fn ready(&mut self, readable: bool, _writable: bool, shared: &mut WorkerState<P, M>) -> Fate {
        self.link.retry();
        match &mut self.phase {
            Phase::Serving if readable => self.lend(shared, Connection::read),
            Phase::Waiting | Phase::Resting if readable => self.read_ahead(shared),
            Phase::Blocked | Phase::Ending(_) => self.lend(shared, Connection::resume),
            Phase::Lingering(lingering) if lingering.is_due(readable) => {
                lingering.discard(&mut self.link, &shared.counters)
            }
            _ => Fate::Open,
        }
    }

    #[cold]
    fn write_failed(&mut self, error: io::Error, shared: &mut WorkerState<P, M>) -> Fate {
        shared.fail(&ConnectionError::Write(&error), &self.link.socket);
        Fate::Closed
    }

    fn flush(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        self.lend(shared, Connection::go_on)
    }

    fn again(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        match self.phase {
            Phase::Busy | Phase::Resting => self.lend(shared, Connection::serve),
            _ => Fate::Open,
        }
    }

    #[inline]
    fn interest(&mut self) -> Option<Interest> {
        match self.phase {
            Phase::Serving => Some(Interest::Read),
            // Only the end of the client is of interest; the bytes that it sends can stay in the socket.
            Phase::Waiting | Phase::Resting if self.http1.is_eof() || self.input.is_some() => {
                Some(Interest::Nothing)
            }
            Phase::Waiting | Phase::Resting => Some(Interest::Read),
            // This state ends soon. Two changes of the interest cost more than events that are ignored.
            Phase::Busy => None,
            Phase::Blocked | Phase::Ending(_) => Some(Interest::Write),
            Phase::Lingering(lingering) => Some(lingering.interest()),
        }
    }

    #[inline]
    fn deadline(&self, shared: &WorkerState<P, M>) -> Seconds {
        let limits = &shared.service.limits;
        match self.phase {
            Phase::Serving | Phase::Waiting | Phase::Resting => {
                let (input, exchange) = (self.input.as_deref(), self.exchange.as_deref());
                turn::deadline(&self.http1, input, exchange, limits)
            }
            Phase::Busy => shared.service.now.after(limits.idle_timeout),
            Phase::Blocked | Phase::Ending(_) => {
                let rate = Rate::of_responses(limits);
                let output = self.output.as_ref();
                let slow = output.map_or(Seconds::NEVER, |output| output.due(self.wrote, &rate));
                self.wrote.after(limits.write_timeout).min(slow)
            }
            Phase::Lingering(_) => self.wrote.after(limits.linger_timeout),
        }
    }

    fn waits_for_client(&self) -> bool {
        matches!(
            self.phase,
            Phase::Serving | Phase::Blocked | Phase::Ending(_)
        )
    }

    fn expire(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        match self.phase {
            Phase::Lingering(_) => Fate::Closed,
            Phase::Blocked | Phase::Ending(_) => {
                shared.fail(&ConnectionError::WriteTimeout, &self.link.socket);
                // Otherwise the system would keep the unsent bytes for as long as the client wants.
                self.link.socket.stream.reset();
                Fate::Closed
            }
            Phase::Busy => Fate::Open,
            Phase::Serving | Phase::Waiting | Phase::Resting => {
                self.lend(shared, |connection, lease, shared| {
                    let mut parts = connection.parts(lease, &shared.counters, shared.place);
                    if let Some(close) = shared.service.expire(&mut parts) {
                        connection.phase = Phase::Ending(close);
                    }
                    connection.wrote = shared.service.now;
                    connection.flush(lease, shared)
                })
            }
        }
    }

    #[cold]
    fn expire_handshake(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        shared.tell_handshake(&io::ErrorKind::TimedOut.into(), &self.link.socket);
        Fate::Closed
    }

    #[inline]
    fn settle(&mut self, shared: &mut WorkerState<P, M>) {
        let input = self.input.as_mut().map_or(0, |input| {
            input.note(shared.service.now);
            input.held()
        });
        let output = self.output.as_ref().map_or(0, |output| output.held());
        let held = input + output + self.link.socket.stream.held();
        self.link.charge(held, &mut shared.tally);
    }

    fn lasts(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.has_events())
    }

    /// A connection that waits for a handshake must not be watched meanwhile.
    fn may_retire(&self) -> bool {
        !self.http1.is_retired() && !self.link.is_handshaking()
    }

    fn retire(&mut self, _: &mut WorkerState<P, M>) -> Fate {
        self.http1.retire();
        Fate::Open
    }

    fn stop(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        self.lend(shared, Connection::stop_serving)
    }

    fn stall(&self, limit: Duration, now: Seconds) -> Option<Stall> {
        let is_at_work = matches!(self.phase, Phase::Busy | Phase::Lingering(_));
        let input = self.input.as_ref().map(|input| input.moved());
        let output = self.output.as_ref().map(|output| output.moved(self.wrote));
        // A part of a TLS record, or of a message of a handshake.
        let transport = (self.link.socket.stream.held() > 0).then_some(self.wrote);
        let moved = input.max(output).or(transport);
        let moved = moved.filter(|_| !is_at_work)?;
        stall(self.link.charged(), moved, limit, now)
    }

    /// Sends an error response, if no part of a response is on its way.
    fn give_memory(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        shared.counters.stalled_closed.add(1);
        if self.phase == Phase::Serving {
            let refused = self.lend(shared, |connection, lease, shared| {
                let mut parts = connection.parts(lease, &shared.counters, shared.place);
                let is_refused = shared.service.refuse_memory(&mut parts);
                is_refused.then(|| connection.serve(lease, shared))
            });
            if let Some(fate) = refused {
                return fate;
            }
        }
        shared.fail(&ConnectionError::Overloaded, &self.link.socket);
        self.link.socket.stream.reset();
        Fate::Closed
    }

    fn close(mut self, shared: &mut WorkerState<P, M>) {
        if self.is_streaming() || self.output.is_some() {
            self.reset_old();
        }
        let service = &mut shared.service;
        if self.exchange.is_some() {
            let unsent = self.output.as_ref().map_or(0, |output| output.len());
            service.leave(&mut self.exchange, unsent);
        }
        if let Some(input) = self
            .input
            .as_deref()
            .filter(|_| self.http1.lacks_response())
        {
            let ends = &self.link.socket;
            let request = Request::of_head(input, ends);
            service.tell_gone(request, self.http1.since(), ends);
        }
        if let Some(input) = self.input.take() {
            shared.pool.give_input(input);
        }
        if let Some(output) = self.output.take() {
            shared.pool.give_output(output);
        }
    }

    #[cold]
    fn abandon(mut self, panic: &Panic, shared: &mut WorkerState<P, M>) {
        // The log entry is written by its drop.
        shared.service.end(&mut self.exchange);
        // The client must not take a part of the response for all of it.
        self.link.socket.stream.reset();
        let error = ConnectionError::Internal(panic.message());
        shared.fail(&error, &self.link.socket);
    }
}
