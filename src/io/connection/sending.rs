//! The sending half of a connection, and its end.

use super::{Connection, Fate, Phase, Shared};
use crate::conn::{
    http1::{Close, CloseReason},
    rate::Rate,
};
use crate::handler::{ConnectionError, Handler};
use crate::io::mode::Mode;
use crate::io::transport::{FILE_STEP, Sent, Transport, can_wait};
use crate::protocol::Version;

impl<T: Transport> Connection<T> {
    /// Sends what there is, and goes on with what that allows.
    pub(super) fn flush<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        let Some(output) = &mut self.output else {
            return self.sent(shared);
        };
        // A client that reads as fast as a file is sent must not keep the thread for itself.
        let mut budget = FILE_STEP;
        let (since, mut taken) = (self.wrote, 0);
        while !output.is_empty() && budget > 0 {
            match self.socket.stream.send(output) {
                Ok(Sent { bytes, full }) => {
                    shared.counters.bytes_written.add(bytes as u64);
                    output.advance(bytes);
                    taken += bytes;
                    self.wrote = shared.service.now;
                    budget = budget.saturating_sub(bytes);
                    if full {
                        break;
                    }
                }
                Err(error) if can_wait(&error, &mut self.starved) => break,
                Err(error) => {
                    shared.fail(&ConnectionError::Write(&error), &self.socket);
                    return Fate::Closed;
                }
            }
        }
        if !output.is_empty() {
            let service = &shared.service;
            let rate = Rate::of_responses(&service.limits);
            output.taken(taken, since, service.now, &rate);
            if !matches!(self.phase, Phase::Ending(_)) {
                self.phase = Phase::Blocked;
            }
            self.tell_unsent(shared);
            return Fate::Open;
        }
        if let Some(output) = self.output.take() {
            shared.pool.give_output(output);
        }
        self.tell_unsent(shared);
        self.sent(shared)
    }

    /// Tells whoever makes the rest of the answer how much of it the client has not taken.
    pub(super) fn tell_unsent<H, M>(&self, shared: &Shared<'_, H, M>) {
        let Some(body) = &self.body else {
            return;
        };
        let unsent = self.output.as_ref().map_or(0, |output| output.len());
        // While all connections hold too much, there is room for more when all has gone.
        let most = shared.service.limits.output_bytes as u64;
        body.set_unsent(match unsent > 0 && shared.tally.is_over() {
            true => unsent.max(most),
            false => unsent,
        });
    }

    /// The client has taken all there was.
    fn sent<H: Handler, M: Mode<H, T>>(&mut self, shared: &mut Shared<'_, H, M>) -> Fate {
        match self.phase {
            Phase::Busy => Fate::Again,
            Phase::Resting => Fate::Later,
            Phase::Ending(close) => self.end(close, shared),
            _ => Fate::Open,
        }
    }

    /// A blocked client may have room again.
    pub(super) fn resume<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        let fate = self.flush(shared);
        if self.phase != Phase::Blocked || fate == Fate::Closed || self.output.is_some() {
            return fate;
        }
        self.serve(shared)
    }

    /// The server stops while an answer is streamed.
    pub(super) fn stop_stream<H: Handler, M: Mode<H, T>>(
        &mut self,
        unread: usize,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        let mut input = self.input.take().unwrap_or_else(|| shared.pool.input());
        let mut output = self.output.take().unwrap_or_else(|| shared.pool.output());
        let mut parts = self.parts(&mut input, &mut output, shared.counters, shared.place);
        shared.service.stop(unread, &mut parts);
        self.keep(input, shared);
        self.output = Some(output);
        self.go_on(shared)
    }

    /// All is sent: closes, or gives the client time to read it.
    fn end<H: Handler, M: Mode<H, T>>(
        &mut self,
        close: Close,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        if close.reason == CloseReason::AnswerCut {
            self.reset_old();
            return Fate::Closed;
        }
        if !close.linger || self.socket.stream.shutdown_write().is_err() {
            return Fate::Closed;
        }
        self.wrote = shared.service.now;
        if let Some(input) = self.input.take() {
            shared.pool.give_input(input);
        }
        let most = shared.service.limits.linger_bytes;
        self.phase = Phase::Lingering(u32::try_from(most).unwrap_or(u32::MAX));
        Fate::Open
    }

    /// To an HTTP/1.0 client the end of the connection may be the end of a body: it must not take
    /// half of one for all of it.
    pub(super) fn reset_old(&mut self) {
        if self.http1.version() < Version::Http11 {
            self.socket.stream.reset();
        }
    }

    /// Reads what a refused client still sends, and forgets it.
    pub(super) fn discard<H: Handler, M: Mode<H, T>>(
        &mut self,
        left: u32,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        let mut scratch = shared.pool.input();
        let stream = &mut self.socket.stream;
        let read = stream.discard(scratch.space(), left, &mut self.starved);
        shared.pool.give_input(scratch);
        let Some(n) = read else {
            return Fate::Closed;
        };
        shared.counters.bytes_read.add(n.into());
        self.phase = Phase::Lingering(left.saturating_sub(n));
        Fate::Open
    }
}
