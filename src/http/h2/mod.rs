//! An HTTP/2 connection: its socket, its state, and what an event does to them.
//!
//! This is the only code that drives the state machine of HTTP/2. It mirrors [`super::h1`]. A connection begins
//! here if its listener speaks nothing else, or comes from there when its first bytes are the client preface.

mod driven;
mod machine;
mod turn;

use super::connection_error::ConnectionError;
use super::service::{HandlerRef, Service, Upgrades};
use super::worker_state::WorkerState;
use crate::http::deferred::worker_handle::WorkerCommand;
use crate::http::lease::Lease;
use crate::http::multiplexed::Parts;
use crate::http::multiplexed::streams::Streams;
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::{Driven, Fate};
use crate::runtime::linger::Lingering;
use crate::runtime::link::Link;
use crate::runtime::transport::{FILE_STEP, Transport, Written};
use crate::shared::output::{FilePart, Output};
use machine::{Machine, queued};
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::read_buf::Input;
use peregrine_protocol::h2::connection::{Close, Http2};
use peregrine_protocol::limits::Limits;
use peregrine_protocol::rate::Rate;
use std::marker::PhantomData;
use turn::Turn;

/// The most reads of one event.
const READS: usize = 4;

pub(crate) struct Connection<P, M, T> {
    pub(crate) link: Link<T>,
    http2: Http2<FilePart>,
    input: Option<Box<Input>>,
    output: Option<Box<Output>>,
    streams: Streams,
    phase: Phase,
    keep_alive: bool,
    is_eof: bool,
    /// When the client last received something.
    wrote: Seconds,
    served_by: PhantomData<fn(&mut WorkerState<P, M>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reads frames and handles them. Responses may be unsent.
    Serving,
    /// The same, and the source of a body is asked again without an event.
    Resting,
    /// More frames are in the input already. Nothing is read before they are handled.
    Busy,
    /// The client has to receive its responses before anything else happens.
    Blocked,
    /// The same, and then the connection ends.
    Ending(Close),
    Lingering(Lingering),
}

impl<P: HandlerRef, M: Upgrades<P::Target>, T: Transport> Connection<P, M, T> {
    /// A connection of which these bytes have been read.
    pub(crate) fn new(
        link: Link<T>,
        input: Option<Box<Input>>,
        keep_alive: bool,
        shared: &WorkerState<P, M>,
    ) -> Self {
        shared.counters.http2_connections.add(1);
        let now = shared.service.now;
        Connection {
            link,
            http2: Http2::new(now, &shared.http2.limits),
            input,
            output: None,
            streams: Streams::default(),
            phase: Phase::Serving,
            keep_alive,
            is_eof: false,
            wrote: now,
            served_by: PhantomData,
        }
    }

    /// Calls `act` with buffers, its own or those of the pool. Buffers that are not empty afterwards stay
    /// with the connection.
    fn lend<R>(
        &mut self,
        shared: &mut WorkerState<P, M>,
        act: impl FnOnce(&mut Self, &mut Lease, &mut WorkerState<P, M>) -> R,
    ) -> R {
        let mut lease = Lease::take(&mut self.input, &mut self.output, &mut shared.pool);
        let done = act(self, &mut lease, shared);
        lease.end(&mut self.input, &mut self.output, &mut shared.pool);
        done
    }

    /// Lets the service do something.
    fn with_service<R>(
        &mut self,
        lease: &mut Lease,
        shared: &mut WorkerState<P, M>,
        act: impl FnOnce(&mut Service<P>, &mut Parts<'_, Machine<'_>>) -> R,
    ) -> R {
        let http2 = &mut shared.http2;
        let machine = Machine {
            http2: &mut self.http2,
            input: &mut lease.input,
            output: &mut lease.output,
            limits: &http2.limits,
        };
        let mut parts = Parts {
            machine,
            streams: &mut self.streams,
            keep_alive: self.keep_alive,
            conn: shared.place,
            ends: &self.link.socket,
            counters: &shared.counters,
            head: &mut http2.head,
            response: &mut http2.response,
        };
        act(&mut shared.service, &mut parts)
    }

    /// Applies a command to the stream that it names. The caller calls [`Driven::flush`] afterwards.
    pub(crate) fn command(
        &mut self,
        command: WorkerCommand,
        shared: &mut WorkerState<P, M>,
    ) -> Fate {
        self.lend(shared, |connection, lease, shared| {
            connection.with_service(lease, shared, |service, parts| {
                service.take_stream_command(command, parts);
            });
        });
        if shared.dirty.last() != Some(&shared.place) {
            shared.dirty.push(shared.place);
        }
        Fate::Open
    }

    /// Reads once. `None` if the read returned bytes, or the end of the stream.
    fn fill(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Option<Fate> {
        if self.is_eof {
            return Some(Fate::Open);
        }
        let is_narrow = !lease.input.has_grown() && lease.input.is_empty();
        if lease.input.is_tight() || is_narrow && self.streams.is_receiving() {
            shared.pool.widen(&mut lease.input);
        }
        match self.link.read(lease.input.space()) {
            Ok(Some(0)) => {
                self.http2.eof();
                self.is_eof = true;
                for stream in self.streams.iter() {
                    shared.service.client_eof(stream.exchange.as_deref());
                }
                None
            }
            Ok(Some(n)) => {
                shared.counters.bytes_read.add(n as u64);
                lease.input.filled(n);
                None
            }
            Ok(None) => Some(Fate::Open),
            Err(error) => {
                if self.link.is_handshaking() {
                    shared.tell_handshake(&error, &self.link.socket);
                } else if !self.http2.is_idle() {
                    // Some clients end an idle connection with a reset.
                    shared.fail(&ConnectionError::Read(&error), &self.link.socket);
                }
                Some(Fate::Closed)
            }
        }
    }

    /// Sends what is unsent, reads, and handles what has come. While bodies fill the input, it reads again: what each
    /// part of them is responded with goes out at once.
    fn go_on(&mut self, readable: bool, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        let was_unsent = !lease.output.is_empty();
        if was_unsent && self.send(lease, shared) == Fate::Closed {
            return Fate::Closed;
        }
        let mut reads = 0;
        while readable && reads < READS && !self.is_full(lease, shared) {
            match self.fill(lease, shared) {
                Some(Fate::Closed) => return Fate::Closed,
                Some(_) => break,
                None => reads += 1,
            }
            let is_more_likely = !lease.input.has_room();
            self.advance(lease, shared);
            if !is_more_likely || self.phase != Phase::Serving {
                break;
            }
        }
        match (reads, was_unsent) {
            (0, false) => Fate::Open,
            (0, true) => self.serve(lease, shared),
            _ => self.flush_output(lease, shared),
        }
    }

    /// Runs one turn of the service, and sends what came of it.
    fn serve(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        self.advance(lease, shared);
        self.flush_output(lease, shared)
    }

    /// Runs one turn of the service, and decides what the connection does next.
    fn advance(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) {
        let now = shared.service.now;
        if lease.output.is_empty() {
            self.wrote = now;
        }
        // Other streams of the client may keep the connection busy.
        let limits = &shared.service.limits;
        let is_due = self.streams_deadline(limits) <= now;
        let turn = self.with_service(lease, shared, |service, parts| {
            if is_due {
                service.expire_streams(parts);
            }
            let turn = service.turn_http2(parts);
            if let Turn::Close(close) = turn {
                service.report_close_http2(close, parts);
            }
            turn
        });
        self.count(shared);
        self.phase = match turn {
            Turn::Read => Phase::Serving,
            Turn::Rest => Phase::Resting,
            Turn::Again => Phase::Busy,
            Turn::Blocked => Phase::Blocked,
            Turn::Close(close) => Phase::Ending(close),
        };
    }

    /// Adds what the state machine has counted.
    fn count(&mut self, shared: &WorkerState<P, M>) {
        let counts = self.http2.take_counts();
        let counters: &WorkerCounters = &shared.counters;
        counters.http2_refused.add(counts.refused.into());
        counters
            .http2_resets_received
            .add(counts.resets_received.into());
        counters.http2_resets_sent.add(counts.resets_sent.into());
    }

    /// Sends the output, and decides what follows.
    fn flush_output(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        let was_full = self.is_full(lease, shared);
        if self.send(lease, shared) == Fate::Closed {
            return Fate::Closed;
        }
        self.tell_unsent(&lease.output, shared);
        if !lease.output.is_empty() {
            return match self.phase {
                Phase::Busy if !self.is_full(lease, shared) => Fate::Again,
                Phase::Busy => {
                    self.phase = Phase::Blocked;
                    Fate::Open
                }
                Phase::Resting => Fate::Later,
                _ => Fate::Open,
            };
        }
        match self.phase {
            // Streams may have waited for room in the output.
            Phase::Serving | Phase::Resting | Phase::Blocked if was_full => {
                self.phase = Phase::Busy;
                Fate::Again
            }
            Phase::Busy => Fate::Again,
            Phase::Resting => Fate::Later,
            Phase::Ending(close) => self.end(close, lease, shared),
            _ => Fate::Open,
        }
    }

    /// So much is unsent that nothing more is read.
    fn is_full(&self, lease: &Lease, shared: &WorkerState<P, M>) -> bool {
        lease.output.is_full(&shared.service.limits)
    }

    /// Sends what the socket takes.
    fn send(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        let output = &mut lease.output;
        if matches!(self.phase, Phase::Ending(_)) {
            self.link.socket.stream.near_end();
        }
        let mut budget = FILE_STEP;
        let (since, mut taken) = (self.wrote, 0);
        if output.is_empty() {
            self.wrote = shared.service.now;
        }
        while !output.is_empty() && budget > 0 {
            match self.link.send(output) {
                Ok(Some(Written { bytes, full })) => {
                    shared.counters.bytes_written.add(bytes as u64);
                    output.advance(bytes);
                    taken += bytes;
                    self.wrote = shared.service.now;
                    budget = budget.saturating_sub(bytes);
                    if full {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => return self.write_failed(error, shared),
            }
        }
        match output.is_empty() {
            // The rate of the bytes that are sent says nothing about later bytes.
            true => output.clear(),
            false => {
                let service = &shared.service;
                let rate = Rate::of_responses(&service.limits);
                output.taken(taken, since, service.now, &rate);
            }
        }
        Fate::Open
    }

    /// Reports to the producers of bodies how many bytes are unsent.
    fn tell_unsent(&self, output: &Output, shared: &WorkerState<P, M>) {
        let unsent = (self.http2.queued_in_all(), output.len());
        let (is_over, limits) = (shared.tally.is_over(), &shared.service.limits);
        let queued = |id| queued(&self.http2, id);
        self.streams.tell_unsent(queued, unsent, is_over, limits);
    }

    /// When the first of the responses that are waited for has to go on.
    fn streams_deadline(&self, limits: &Limits) -> Seconds {
        self.streams.deadline(|id| queued(&self.http2, id), limits)
    }

    /// The server stops: after the streams that have come the connection ends.
    fn stop_serving(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        if matches!(self.phase, Phase::Ending(_) | Phase::Lingering(_)) {
            return Fate::Open;
        }
        // A request that has arrived counts as accepted.
        let filled = match self.is_full(lease, shared) {
            false => self.fill(lease, shared),
            true => None,
        };
        if filled == Some(Fate::Closed) {
            return Fate::Closed;
        }
        let now = shared.service.now;
        self.http2.stop(&mut lease.output, now);
        self.with_service(lease, shared, |service, parts| {
            service.end_all_events(parts)
        });
        self.serve(lease, shared)
    }

    /// The output is empty: closes the connection, or lingers so that the client can read everything.
    fn end(&mut self, close: Close, lease: &mut Lease, shared: &WorkerState<P, M>) -> Fate {
        self.link.socket.stream.end_write();
        let most = shared.service.limits.linger_bytes;
        let lingering = match close.linger && !self.is_eof {
            true => Lingering::begin(&mut self.link, most),
            false => None,
        };
        let Some(lingering) = lingering else {
            return Fate::Closed;
        };
        self.wrote = shared.service.now;
        lease.input.recycle();
        self.phase = Phase::Lingering(lingering);
        Fate::Open
    }

    /// Whether it has no request and no buffers. Such a connection may be closed to make room, and one in its TLS
    /// handshake, too.
    pub(crate) fn is_spare(&self, now: Seconds) -> bool {
        let holds_record = !self.link.is_handshaking() && self.link.socket.stream.held() > 0;
        let holds = self.input.is_some() || self.output.is_some() || holds_record;
        self.phase == Phase::Serving && self.http2.is_spare(now) && !holds
    }

    /// Other connections need the place: closes, unless a request has arrived just now.
    pub(crate) fn give_way(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        self.lend(shared, |connection, lease, shared| {
            match connection.fill(lease, shared) {
                None => connection.serve(lease, shared),
                Some(_) => {
                    shared.counters.idle_closed.add(1);
                    let close = connection.http2.give_way(&mut lease.output);
                    connection.phase = Phase::Ending(close);
                    connection.flush_output(lease, shared)
                }
            }
        })
    }

    /// Bytes of incomplete requests.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn held(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.available()) + self.streams.held()
    }

    /// The number of buffers that the connection has.
    #[cfg(test)]
    pub(crate) fn leased(&self) -> usize {
        usize::from(self.input.is_some()) + usize::from(self.output.is_some())
    }
}
