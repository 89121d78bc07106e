//! What the event loop does to an HTTP/2 connection.

use super::{Connection, Phase, WorkerState};
use crate::http::connection_error::ConnectionError;
use crate::http::multiplexed::streams::Stream;
use crate::http::service::{HandlerRef, Upgrades};
use crate::runtime::event_loop::{Driven, Fate};
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

impl<P: HandlerRef, M: Upgrades<P::Target>, T: Transport> Connection<P, M, T> {
    /// When the client is too slow for the bytes that are unsent.
    fn write_deadline(&self, shared: &WorkerState<P, M>) -> Seconds {
        let limits = &shared.service.limits;
        let rate = Rate::of_responses(limits);
        let output = self.output.as_ref().filter(|output| !output.is_empty());
        output.map_or(Seconds::NEVER, |output| {
            let slow = output.due(self.wrote, &rate);
            self.wrote.after(limits.write_timeout).min(slow)
        })
    }

    #[cold]
    fn write_timed_out(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        shared.fail(&ConnectionError::WriteTimeout, &self.link.socket);
        // Otherwise the system would keep the unsent bytes for as long as the client wants.
        self.link.socket.stream.reset();
        Fate::Closed
    }
}

// Not inlined into the event loop beside those of HTTP/1, which would have fewer registers.
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

    #[inline(never)]
    fn open(&mut self, _id: ConnId, is_stopping: bool, shared: &mut WorkerState<P, M>) -> Fate {
        self.lend(shared, |connection, lease, shared| match is_stopping {
            true => connection.stop_serving(lease, shared),
            // What the client has sent already is handled first.
            false if !lease.input.is_empty() => connection.serve(lease, shared),
            false => connection.go_on(true, lease, shared),
        })
    }

    #[inline(never)]
    fn ready(&mut self, readable: bool, _writable: bool, shared: &mut WorkerState<P, M>) -> Fate {
        self.link.retry();
        match &mut self.phase {
            Phase::Serving | Phase::Resting | Phase::Blocked => self
                .lend(shared, |connection, lease, shared| {
                    connection.go_on(readable, lease, shared)
                }),
            Phase::Ending(_) => self.lend(shared, Connection::flush_output),
            Phase::Lingering(lingering) if lingering.is_due(readable) => {
                lingering.discard(&mut self.link, &shared.counters)
            }
            Phase::Busy | Phase::Lingering(_) => Fate::Open,
        }
    }

    #[cold]
    fn write_failed(&mut self, error: io::Error, shared: &mut WorkerState<P, M>) -> Fate {
        shared.fail(&ConnectionError::Write(&error), &self.link.socket);
        Fate::Closed
    }

    #[inline(never)]
    fn flush(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        match self.phase {
            Phase::Serving | Phase::Resting => self.lend(shared, Connection::serve),
            _ => self.lend(shared, |connection, lease, shared| {
                connection.tell_unsent(&lease.output, shared);
                Fate::Open
            }),
        }
    }

    #[inline(never)]
    fn again(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        match self.phase {
            Phase::Busy | Phase::Resting => self.lend(shared, Connection::serve),
            _ => Fate::Open,
        }
    }

    #[inline(never)]
    fn interest(&mut self) -> Option<Interest> {
        let is_unsent = self.output.is_some();
        match self.phase {
            Phase::Serving | Phase::Resting => Some(match (self.is_eof, is_unsent) {
                (false, false) => Interest::Read,
                (false, true) => Interest::Both,
                (true, false) => Interest::Nothing,
                (true, true) => Interest::Write,
            }),
            // This state ends soon.
            Phase::Busy => None,
            Phase::Blocked | Phase::Ending(_) => Some(Interest::Write),
            Phase::Lingering(lingering) => Some(lingering.interest()),
        }
    }

    #[inline(never)]
    fn deadline(&self, shared: &WorkerState<P, M>) -> Seconds {
        let limits = &shared.service.limits;
        match self.phase {
            Phase::Serving | Phase::Resting => {
                let streams = self.streams_deadline(limits);
                let due = self.http2.deadline(limits).min(streams);
                due.min(self.write_deadline(shared))
            }
            Phase::Busy => shared.service.now.after(limits.idle_timeout),
            Phase::Blocked | Phase::Ending(_) => self.write_deadline(shared),
            Phase::Lingering(_) => self.wrote.after(limits.linger_timeout),
        }
    }

    fn waits_for_client(&self) -> bool {
        !matches!(self.phase, Phase::Busy | Phase::Lingering(_))
    }

    #[inline(never)]
    #[cold]
    fn expire_handshake(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        shared.tell_handshake(&io::ErrorKind::TimedOut.into(), &self.link.socket);
        Fate::Closed
    }

    fn expire(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        match self.phase {
            Phase::Lingering(_) => Fate::Closed,
            Phase::Busy => Fate::Open,
            _ if self.write_deadline(shared) <= shared.service.now => self.write_timed_out(shared),
            Phase::Blocked | Phase::Ending(_) => Fate::Open,
            Phase::Serving | Phase::Resting => self.lend(shared, |connection, lease, shared| {
                connection.with_service(lease, shared, |service, parts| {
                    let (limits, now) = (&service.limits, service.now);
                    let close = parts.machine.http2.expire(
                        parts.machine.output,
                        limits,
                        parts.machine.limits,
                        now,
                    );
                    if close.is_none() {
                        service.expire_streams(parts);
                        parts.streams.shrink();
                    }
                });
                // It says which streams have ended, and whether the connection has.
                connection.serve(lease, shared)
            }),
        }
    }

    #[inline(never)]
    fn settle(&mut self, shared: &mut WorkerState<P, M>) {
        let input = self.input.as_mut().map_or(0, |input| {
            input.note(shared.service.now);
            input.held()
        });
        let output = self.output.as_ref().map_or(0, |output| output.held());
        let http2 = self.http2.held() + self.streams.held();
        let held = input + output + http2 + self.link.socket.stream.held();
        self.link.charge(held, &mut shared.tally);
    }

    fn lasts(&self) -> bool {
        let has_events = |stream: &Stream| {
            let exchange = stream.exchange.as_ref();
            exchange.is_some_and(|exchange| exchange.has_events())
        };
        self.streams.next(0, has_events).is_some()
    }

    fn may_retire(&self) -> bool {
        let is_ending = matches!(self.phase, Phase::Ending(_) | Phase::Lingering(_));
        !is_ending && !self.http2.is_stopping() && !self.link.is_handshaking()
    }

    #[inline(never)]
    fn retire(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        self.lend(shared, |connection, lease, shared| {
            let now = shared.service.now;
            connection.http2.stop(&mut lease.output, now);
            match connection.phase {
                Phase::Serving | Phase::Resting => connection.serve(lease, shared),
                // What it waits for sends the rest.
                _ => Fate::Open,
            }
        })
    }

    #[inline(never)]
    fn stop(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        self.lend(shared, Connection::stop_serving)
    }

    #[inline(never)]
    fn stall(&self, limit: Duration, now: Seconds) -> Option<Stall> {
        if matches!(self.phase, Phase::Busy | Phase::Lingering(_)) {
            return None;
        }
        let input = self.input.as_ref().map(|input| input.moved());
        let output = self.output.as_ref().map(|output| output.moved(self.wrote));
        // What waits for windows, bodies that are not complete, and a part of a TLS record.
        let moved = input.max(output).max(Some(self.http2.moved()));
        stall(self.link.charged(), moved?, limit, now)
    }

    #[inline(never)]
    fn give_memory(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        shared.counters.stalled_closed.add(1);
        shared.fail(&ConnectionError::Overloaded, &self.link.socket);
        self.link.socket.stream.reset();
        Fate::Closed
    }

    #[inline(never)]
    fn close(mut self, shared: &mut WorkerState<P, M>) {
        self.lend(shared, |connection, lease, shared| {
            connection.with_service(lease, shared, |service, parts| {
                service.leave_all_http2(parts.machine.output.len(), parts);
            });
            lease.input.recycle();
            // The entries of an access log in them are written.
            lease.output.clear();
            connection.http2.lose();
        });
        self.count(shared);
    }

    #[cold]
    fn abandon(mut self, panic: &Panic, shared: &mut WorkerState<P, M>) {
        shared.service.abandon_all(&mut self.streams);
        self.link.socket.stream.reset();
        let error = ConnectionError::Internal(panic.message());
        shared.fail(&error, &self.link.socket);
    }
}
