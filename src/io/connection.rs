//! One connection of a worker: its socket, its state, and what an event does to them.

mod room;
mod sending;
mod time;

use super::control::Accepted;
use super::listener::ListenerConfig;
use super::mode::Mode;
use super::poll::{Interest, Poll};
use super::socket::Socket;
use super::transport::{Transport, can_wait};
use crate::conn::{
    Seconds,
    body_out::BodyOut,
    budget::Tally,
    http1::{Close, Http1},
    id::ConnId,
    input::Input,
    output::Output,
    panic_guard::{Panic, drop_quietly},
    pool::Pool,
};
use crate::drive::{Left, Parts, Service, Turn};
use crate::handler::{ConnectionError, Handler};
use crate::incoming::BodySink;
use crate::late::Command;
use crate::request::Ends;
use crate::stats::WorkerCounters;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// What the connections of one worker share.
pub(crate) struct Shared<'a, H, M> {
    pub(crate) service: Service<Arc<H>>,
    pub(crate) pool: Pool,
    pub(crate) poll: Poll,
    pub(crate) counters: &'a WorkerCounters,
    pub(crate) mode: M,
    pub(crate) tally: Tally,
    /// Of the connection whose turn it is.
    pub(crate) place: ConnId,
}

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    /// Bytes, or the end of them.
    Something,
    Nothing,
    Failed,
}

/// What becomes of a connection after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits for its socket.
    Open,
    /// It has more to do as soon as others have had their turn.
    Again,
    /// It has more to do after a while.
    Later,
    /// Drop it.
    Closed,
    /// It goes on in another protocol; see [`Connection::into_moved`].
    Upgraded,
}

pub(crate) struct Connection<T> {
    socket: Socket<T>,
    http1: Http1,
    input: Option<Box<Input>>,
    output: Option<Box<Output>>,
    /// The rest of the answer that is being given.
    body: Option<Box<BodyOut>>,
    /// Who takes the body of the request that is coming in.
    sink: Option<Box<dyn BodySink>>,
    /// What the poller watches for; `None` before the first time the socket had nothing for us.
    watched: Option<Interest>,
    phase: Phase,
    /// When the client last took something.
    wrote: Seconds,
    /// The system had no memory for the last call. The poller would say at once that the socket is
    /// ready, so it is not asked: the call is made again in the next second.
    starved: bool,
    /// Bytes that the tally has for it.
    counted: u32,
}

/// See [`Connection::into_moved`].
#[cfg_attr(
    not(feature = "websocket"),
    expect(dead_code, reason = "no connection leaves HTTP")
)]
pub(crate) struct Moved<T> {
    pub(super) socket: Socket<T>,
    pub(super) rest: Vec<u8>,
    pub(super) output: Option<Box<Output>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reading what comes and answering it.
    Serving,
    /// An answer, or the rest of one, is to come. What the client sends in the meantime waits.
    Waiting,
    /// The same, and it is asked for again without an event.
    Resting,
    /// More requests are in the input already; nothing is read before they are answered.
    Busy,
    /// The client has to take its answers before anything else happens.
    Blocked,
    /// The same, and then the connection ends.
    Ending(Close),
    /// All is sent. What the client still sends is thrown away; after this many bytes, only its end is
    /// waited for.
    Lingering(u32),
}

impl<T: Transport> Connection<T> {
    pub(crate) fn new(
        accepted: Accepted,
        listener: &ListenerConfig,
        now: Seconds,
        keep_alive: bool,
    ) -> Connection<T> {
        Connection {
            socket: Socket::new(accepted, listener),
            http1: Http1::new(now, keep_alive),
            input: None,
            output: None,
            body: None,
            sink: None,
            watched: None,
            phase: Phase::Serving,
            wrote: now,
            starved: false,
            counted: 0,
        }
    }

    /// The client's address.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer_addr()
    }

    /// The socket is ready.
    pub(crate) fn ready<H: Handler, M: Mode<H, T>>(
        &mut self,
        readable: bool,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        self.starved = false;
        match self.phase {
            Phase::Serving if readable => self.read(shared),
            Phase::Waiting | Phase::Resting if readable => self.read_ahead(shared),
            Phase::Blocked | Phase::Ending(_) => self.resume(shared),
            Phase::Lingering(left) if readable || left == 0 => self.discard(left, shared),
            Phase::Serving
            | Phase::Waiting
            | Phase::Resting
            | Phase::Busy
            | Phase::Lingering(_) => Fate::Open,
        }
    }

    /// One read, and answers to what it has brought.
    pub(crate) fn read<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        match self.fill(shared) {
            Fill::Something => self.serve(shared),
            Fill::Nothing => Fate::Open,
            Fill::Failed => Fate::Closed,
        }
    }

    /// The client sends, or goes, while an answer of it is to come.
    fn read_ahead<H: Handler, M: Mode<H, T>>(&mut self, shared: &mut Shared<'_, H, M>) -> Fate {
        // It was watched for nothing but its end.
        if self.http1.is_eof() || self.fill(shared) == Fill::Failed {
            return Fate::Closed;
        }
        if self.http1.is_eof() {
            shared.service.wire.door.client_eof(shared.place);
            if let Some(body) = &self.body {
                body.client_eof();
            }
        }
        Fate::Open
    }

    /// Something has come for the answer that is to come. [`Connection::go_on`] is to follow.
    pub(crate) fn command<H: Handler, M: Mode<H, T>>(
        &mut self,
        command: Command,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        let mut input = self.input.take().unwrap_or_else(|| shared.pool.input());
        let mut output = self.output.take().unwrap_or_else(|| shared.pool.output());
        let place = shared.place;
        let mut parts = self.parts(&mut input, &mut output, shared.counters, place);
        shared.service.command(command, &mut parts);
        self.keep(input, shared);
        // Nothing was for this connection: an idle one must not keep a buffer.
        match output.is_empty() {
            true => shared.pool.give_output(output),
            false => self.output = Some(output),
        }
        Fate::Open
    }

    /// Sends what has come, and takes the next request if the answer is complete.
    pub(crate) fn go_on<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        match self.phase {
            // A sink may have been told to answer while its body was still coming in.
            Phase::Waiting | Phase::Serving => self.serve(shared),
            _ => {
                self.tell_unsent(shared);
                Fate::Open
            }
        }
    }

    fn parts<'a>(
        &'a mut self,
        input: &'a mut Input,
        output: &'a mut Box<Output>,
        counters: &'a WorkerCounters,
        place: ConnId,
    ) -> Parts<'a> {
        Parts {
            http1: &mut self.http1,
            input,
            output,
            body: &mut self.body,
            sink: &mut self.sink,
            place,
            ends: &self.socket,
            counters,
        }
    }

    fn fill<H: Handler, M: Mode<H, T>>(&mut self, shared: &mut Shared<'_, H, M>) -> Fill {
        let mut input = self.input.take().unwrap_or_else(|| shared.pool.input());
        self.starved = false;
        let filled = match self.socket.stream.read(input.space()) {
            Ok(0) => {
                self.http1.eof();
                Fill::Something
            }
            Ok(n) => {
                shared.counters.bytes_read.add(n as u64);
                input.filled(n);
                Fill::Something
            }
            Err(error) if can_wait(&error, &mut self.starved) => Fill::Nothing,
            Err(error) => {
                // A reset between requests is how some clients say goodbye.
                if !self.http1.is_idle() {
                    shared.fail(&ConnectionError::Read(&error), &self.socket);
                }
                Fill::Failed
            }
        };
        self.keep(input, shared);
        filled
    }

    /// The turn comes round again for requests that are in the input already.
    pub(crate) fn again<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        match self.phase {
            Phase::Busy | Phase::Resting => self.serve(shared),
            _ => Fate::Open,
        }
    }

    /// One turn, and what it leaves to be sent.
    fn serve<H: Handler, M: Mode<H, T>>(&mut self, shared: &mut Shared<'_, H, M>) -> Fate {
        let mut input = self.input.take().unwrap_or_else(|| shared.pool.input());
        let mut output = self.output.take().unwrap_or_else(|| shared.pool.output());
        let mut parts = self.parts(&mut input, &mut output, shared.counters, shared.place);
        let turn = shared.service.turn(&mut parts, &mut shared.mode);
        self.keep(input, shared);
        self.output = Some(output);
        self.phase = match turn {
            Turn::Read => Phase::Serving,
            Turn::Wait => Phase::Waiting,
            Turn::Rest => Phase::Resting,
            Turn::Again | Turn::Blocked => Phase::Busy,
            Turn::Close(close) => Phase::Ending(close),
            Turn::Upgrade => return Fate::Upgraded,
        };
        self.wrote = shared.service.now;
        self.flush(shared)
    }

    /// The server stops: this connection gets no further request after what it has sent.
    pub(crate) fn stop<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        let is_serving = self.phase == Phase::Serving;
        // What has arrived is a request that was accepted.
        let filled = match is_serving {
            true => self.fill(shared),
            false => Fill::Nothing,
        };
        let unread = self.input.as_ref().map_or(0, |input| input.available());
        if self.body.is_some() {
            return self.stop_stream(unread, shared);
        }
        self.http1.stop(unread, shared.service.now);
        let may_ask = !shared.service.limits.stop_grace.is_zero();
        match filled {
            Fill::Failed => Fate::Closed,
            Fill::Something => self.serve(shared),
            Fill::Nothing if is_serving && self.http1.is_idle() && !may_ask => Fate::Closed,
            Fill::Nothing => Fate::Open,
        }
    }

    /// Has the poller watch for what the connection waits for now.
    pub(crate) fn watch(&mut self, token: ConnId, poll: &Poll) -> io::Result<()> {
        let interest = match self.phase {
            _ if self.starved => Interest::Nothing,
            // The poller tells the end of a client even so, where it can.
            Phase::Lingering(0) => Interest::Nothing,
            Phase::Serving | Phase::Lingering(_) => Interest::Read,
            // The end of a client is worth knowing; what it sends can wait in the socket.
            Phase::Waiting | Phase::Resting if self.http1.is_eof() || self.input.is_some() => {
                Interest::Nothing
            }
            Phase::Waiting | Phase::Resting => Interest::Read,
            // Soon done: to change its interest twice costs more than events that it passes over.
            Phase::Busy => return Ok(()),
            Phase::Blocked | Phase::Ending(_) => Interest::Write,
        };
        if self.watched == Some(interest) && !poll.is_oneshot() {
            return Ok(());
        }
        let before = self.watched.replace(interest);
        self.socket.watch((before, interest), token.into(), poll)
    }

    /// Counts what it keeps until its next turn.
    #[inline]
    pub(crate) fn count<H, M>(&mut self, shared: &mut Shared<'_, H, M>) {
        let input = self.input.as_mut().map_or(0, |input| {
            input.note(shared.service.now);
            input.held()
        });
        let output = self.output.as_ref().map_or(0, |output| output.held());
        self.counted = shared.tally.count(self.counted, input + output);
    }

    /// Gives away what another protocol goes on with: the socket, what has arrived behind the
    /// request, and what is not sent yet.
    pub(crate) fn into_moved(
        mut self,
        shared: &mut Shared<'_, impl Handler, impl Sized>,
    ) -> Moved<T> {
        shared.tally.count(self.counted, 0);
        if self.watched.is_some() {
            self.socket.unwatch(&shared.poll);
        }
        let rest = self.input.take().map_or(Vec::new(), |input| {
            let rest = input.unread().to_vec();
            shared.pool.give_input(input);
            rest
        });
        #[cfg(test)]
        if self.output.is_some() {
            shared.pool.come_back();
        }
        Moved {
            socket: self.socket,
            rest,
            output: self.output,
        }
    }

    /// Gives back what it holds.
    pub(crate) fn close(mut self, shared: &mut Shared<'_, impl Handler, impl Sized>) {
        shared.tally.count(self.counted, 0);
        if self.body.is_some() || self.output.is_some() {
            self.reset_old();
        }
        if Poll::must_remove() && self.watched.is_some() {
            self.socket.unwatch(&shared.poll);
        }
        if self.http1.is_waiting() || self.sink.is_some() {
            shared.service.wire.door.leave(shared.place);
        }
        if self.http1.is_waiting() || self.http1.is_unanswered() {
            shared.service.leave(&Left {
                http1: &self.http1,
                input: self.input.as_deref(),
                output: self.output.as_deref(),
                body: self.body.as_deref(),
                place: shared.place,
                ends: &self.socket,
            });
        }
        drop_quietly(self.sink.take());
        if let Some(input) = self.input.take() {
            shared.pool.give_input(input);
        }
        if let Some(output) = self.output.take() {
            shared.pool.give_output(output);
        }
    }

    /// A panic has ended its turn: what it was at is thrown away, its buffers included, and nothing of
    /// it goes to another connection.
    #[cold]
    pub(crate) fn abandon<H: Handler, M: Mode<H, T>>(
        mut self,
        panic: &Panic,
        shared: &mut Shared<'_, H, M>,
    ) {
        shared.tally.count(self.counted, 0);
        shared.service.wire.door.leave(shared.place);
        shared.service.lose_exchange(shared.place);
        // It must not take half of an answer for all of it.
        self.socket.stream.reset();
        if Poll::must_remove() && self.watched.is_some() {
            self.socket.unwatch(&shared.poll);
        }
        drop_quietly(self.sink.take());
        let error = ConnectionError::Internal(panic.message());
        shared.fail(&error, &self.socket);
    }

    /// Buffers that it has.
    #[cfg(test)]
    pub(crate) fn leased(&self) -> usize {
        usize::from(self.input.is_some()) + usize::from(self.output.is_some())
    }

    fn keep<H, M>(&mut self, input: Box<Input>, shared: &mut Shared<'_, H, M>) {
        match input.is_empty() {
            true => shared.pool.give_input(input),
            false => self.input = Some(input),
        }
    }
}

impl<H: Handler, M> Shared<'_, H, M> {
    fn fail(&self, error: &ConnectionError<'_>, socket: &impl Ends) {
        self.counters.connection_errors.add(1);
        match error {
            ConnectionError::Read(_) => self.counters.read_errors.add(1),
            ConnectionError::Write(_) => self.counters.write_errors.add(1),
            ConnectionError::WriteTimeout => self.counters.write_timeouts.add(1),
            ConnectionError::Internal(_) => self.counters.internal_errors.add(1),
            _ => {}
        }
        self.service.report(error, socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection costs while it is idle, beside 8 bytes in the slab.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection<crate::io::transport::Plain>>() <= 152);
    }
}
