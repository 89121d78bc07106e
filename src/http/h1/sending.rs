//! The sending half of a connection, and its end.

use super::{Connection, Fate, Lease, Phase, WorkerState};
use crate::http::service::{HandlerRef, Upgrades};
use crate::runtime::event_loop::Driven;
use crate::runtime::linger::Lingering;
use crate::runtime::transport::{FILE_STEP, Transport, Written};
use crate::shared::output::Output;
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::connection::{Close, CloseReason};
use peregrine_protocol::http::Version;
use peregrine_protocol::rate::Rate;
use std::io;

impl<P: HandlerRef, M: Upgrades<P::Target>, T: Transport> Connection<P, M, T> {
    /// Sends the output, and continues with the steps for which there is room then.
    pub(super) fn flush(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        let output = &mut lease.output;
        if matches!(self.phase, Phase::Ending(close) if close.reason != CloseReason::ResponseCut) {
            self.link.socket.stream.near_end();
        }
        // A client that reads a file as fast as it is sent must not occupy the thread.
        let mut budget = FILE_STEP;
        let (since, mut taken) = (self.wrote, 0);
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
        if !output.is_empty() {
            let service = &shared.service;
            let rate = Rate::of_responses(&service.limits);
            output.taken(taken, since, service.now, &rate);
            if !matches!(self.phase, Phase::Ending(_)) {
                self.phase = Phase::Blocked;
            }
            self.tell_unsent(output, shared);
            return Fate::Open;
        }
        self.tell_unsent(&lease.output, shared);
        match self.phase {
            Phase::Busy => Fate::Again,
            Phase::Resting => Fate::Later,
            Phase::Ending(close) => self.end(close, lease, shared),
            _ => Fate::Open,
        }
    }

    /// Reports to the producer of the body how many bytes are unsent.
    pub(super) fn tell_unsent(&self, output: &Output, shared: &WorkerState<P, M>) {
        let Some(body) = self.exchange.as_ref().and_then(|exchange| exchange.body()) else {
            return;
        };
        let unsent = output.len();
        // While the memory budget is exceeded, there is room only when the output is empty.
        let most = shared.service.limits.output_bytes as u64;
        body.set_unsent(match unsent > 0 && shared.tally.is_over() {
            true => unsent.max(most),
            false => unsent,
        });
    }

    /// A blocked client may have room again.
    pub(super) fn resume(&mut self, lease: &mut Lease, shared: &mut WorkerState<P, M>) -> Fate {
        let fate = self.flush(lease, shared);
        if self.phase != Phase::Blocked || fate == Fate::Closed || !lease.output.is_empty() {
            return fate;
        }
        // The rate of the bytes that are sent says nothing about later bytes.
        lease.output.clear();
        self.serve(lease, shared)
    }

    /// The output is empty: closes the connection, or lingers so that the client can read everything.
    fn end(&mut self, close: Close, lease: &mut Lease, shared: &WorkerState<P, M>) -> Fate {
        if close.reason == CloseReason::ResponseCut {
            self.reset_old();
            return Fate::Closed;
        }
        self.link.socket.stream.end_write();
        match close.linger {
            true => self.linger(lease, shared),
            false => Fate::Closed,
        }
    }

    /// Closes the sending half, and reads what the client still sends.
    fn linger(&mut self, lease: &mut Lease, shared: &WorkerState<P, M>) -> Fate {
        let most = shared.service.limits.linger_bytes;
        let Some(lingering) = Lingering::begin(&mut self.link, most) else {
            return Fate::Closed;
        };
        self.wrote = shared.service.now;
        lease.input.recycle();
        self.phase = Phase::Lingering(lingering);
        Fate::Open
    }

    /// The handshake of the transport has failed, and an alert may be on its way: closes so that the client can read
    /// it.
    #[cold]
    pub(super) fn handshake_failed(
        &mut self,
        error: &io::Error,
        lease: &mut Lease,
        shared: &mut WorkerState<P, M>,
    ) -> Fate {
        shared.tell_handshake(error, &self.link.socket);
        match error.kind() {
            io::ErrorKind::InvalidData => self.linger(lease, shared),
            _ => Fate::Closed,
        }
    }

    /// For an HTTP/1.0 client the end of the connection may be the end of a body. The client must not take a
    /// part of a body for all of it.
    pub(super) fn reset_old(&mut self) {
        if self.http1.version() < Version::Http11 {
            self.link.socket.stream.reset();
        }
    }

    /// Whether it waits for a request of which no byte has arrived, and has no buffers. Such a connection may
    /// be closed to make room, and one in its TLS handshake, too.
    pub(crate) fn is_spare(&self, now: Seconds) -> bool {
        let holds_record = !self.link.is_handshaking() && self.link.socket.stream.held() > 0;
        let holds = self.input.is_some() || self.output.is_some() || holds_record;
        self.phase == Phase::Serving && self.http1.is_spare(now) && !holds
    }

    /// Other connections need the place: closes, unless a request has arrived just now.
    pub(crate) fn give_way(&mut self, shared: &mut WorkerState<P, M>) -> Fate {
        self.lend(shared, |connection, lease, shared| {
            match connection.fill(lease, shared) {
                None => connection.serve(lease, shared),
                Some(_) => {
                    shared.counters.idle_closed.add(1);
                    connection.link.socket.stream.end_write();
                    Fate::Closed
                }
            }
        })
    }
}
