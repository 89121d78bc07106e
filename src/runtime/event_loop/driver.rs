//! `Driver`: what a protocol implements to run in the event loop.

use super::{Ended, EventLoop, Fate};
use crate::config::Config;
use crate::metrics::WorkerCounters;
use crate::runtime::link::Link;
use crate::runtime::memory_relief::Stall;
use crate::runtime::poll::{Interest, Token};
use crate::runtime::server_state::ServerState;
#[cfg(test)]
use crate::runtime::slab::Slab;
use crate::runtime::transport::Transport;
use crate::shared::id::ConnId;
use crate::shared::inbox::Inbox;
use crate::shared::mailbox::Mailbox;
use crate::shared::memory_budget::LocalUsage;
use crate::shared::panic_guard::Panic;
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::response_encoder::ListenerFields;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A protocol in the event loop of a thread. It says where connections and commands come from, and what the
/// thread does beside serving connections.
pub(crate) trait Driver: Sized {
    type Connection: Driven<Self::State>;
    /// State that its connections share.
    type State: ThreadState;
    /// A connection that another thread hands over.
    type Arrival;
    /// A request of another thread.
    type Command;

    /// How events of the log name the thread and a connection.
    const THREAD: &'static str;
    const CONNECTION: &'static str;

    fn shared(&mut self) -> &mut Self::State;

    fn arrivals(&self) -> &Mailbox<Self::Arrival>;

    fn inbox(&self) -> &Inbox<Self::Command>;

    /// Whether no thread will hand over a connection any more.
    fn has_all(control: &ServerState) -> bool;

    /// The address that the limits per address have counted for it.
    fn counted_addr(arrival: &Self::Arrival) -> Option<SocketAddr>;

    fn connect(&mut self, arrival: Self::Arrival, control: &ServerState) -> Self::Connection;

    /// Carries out the command of another thread.
    fn command(events: &mut EventLoop<'_, Self>, command: Self::Command);

    /// Handles an event with this token. False if the token belongs to a connection.
    #[inline]
    fn accept(_events: &mut EventLoop<'_, Self>, _token: Token) -> io::Result<bool> {
        Ok(false)
    }

    /// The thread is about to wait, or ends: [`Handler::before_wait`](crate::Handler::before_wait).
    fn before_wait(&mut self);

    /// The wait is over: [`Handler::after_wait`](crate::Handler::after_wait).
    fn after_wait(&mut self);

    /// A connection has had its turn, or has ended.
    #[inline]
    fn acted(_events: &mut EventLoop<'_, Self>) {}

    /// Called once in each turn of the loop, after the turns of all connections.
    fn turn(events: &mut EventLoop<'_, Self>) -> io::Result<()>;

    /// The time until [`Driver::turn`] has something to do without an event. `None`: it has nothing to do.
    /// `now` is the time since the start of the clock.
    #[inline]
    fn timeout(&self, _now: Duration, _control: &ServerState) -> Option<Duration> {
        None
    }

    /// The connection goes to a thread for its new protocol; see [`Fate::Upgraded`].
    fn upgrade(_events: &mut EventLoop<'_, Self>, _id: ConnId) {}

    /// A connection was closed.
    #[inline]
    fn ended(&mut self, _control: &ServerState) {}

    /// Repairs shared state that a panic in the turn of a connection may have left half changed.
    fn recover(&mut self);

    /// A connection was lost in a panic, with the buffers that it had lent.
    #[cfg(test)]
    fn lost(&mut self, _left: &mut Slab<Self::Connection>) {}

    /// In which time the connections that [last](Driven::lasts) are told that the server stops, one after the other. Zero:
    /// all at once.
    fn spread(_config: &Config) -> Duration {
        Duration::ZERO
    }

    /// The server drains. Tells the connections that are not in the loop, if their moment has come.
    fn retire(
        _events: &mut EventLoop<'_, Self>,
        _is_due: &dyn Fn(ConnId) -> bool,
    ) -> io::Result<()> {
        Ok(())
    }

    /// Whether the connections that are not in the loop have ended.
    fn has_ended(&self) -> bool {
        true
    }

    /// The server begins to stop. Connections in the backlog are moved to [`EventLoop::arrivals`].
    fn stop(_events: &mut EventLoop<'_, Self>) -> io::Result<()> {
        Ok(())
    }

    /// The connections that are still open are about to be closed.
    fn cut(&mut self) {}

    /// All connections of the loop are closed. Returns what became of others.
    fn finish(events: &mut EventLoop<'_, Self>) -> Ended;
}

/// The part of the shared state of a thread's connections that the loop uses.
pub(crate) trait ThreadState {
    fn now(&self) -> Seconds;

    fn tally(&mut self) -> &mut LocalUsage;

    /// Connections to which other threads have sent something. They are flushed after all commands are
    /// handled, so that what arrived together is sent together.
    fn dirty(&mut self) -> &mut Vec<ConnId>;

    fn counters(&self) -> &WorkerCounters;

    /// The wait of the loop has ended.
    fn wake_up(&mut self, time: Time);

    /// The turn of this connection begins.
    #[inline]
    fn begin(&mut self, _id: ConnId) {}

    /// What the listener of this connection adds to responses. Called for connections whose transport may have TLS.
    fn set_listener_fields(&mut self, _fields: ListenerFields) {}

    /// Called once a second: releases memory of buffers that have grown.
    fn trim(&mut self) {}

    /// Bytes received and sent by all connections.
    fn moved(&self) -> u64 {
        self.counters().bytes_read.get() + self.counters().bytes_written.get()
    }
}

/// The time when the last wait of the loop ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) now: Seconds,
    /// The date in seconds since 1970. Called when it may have changed.
    pub(crate) unix: Option<u64>,
    pub(crate) timing: Timing,
}

/// Whether the calls of handlers in a turn of the loop are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    /// The clock is not read.
    Off,
    /// Calls that hold the worker for long are counted.
    Watched,
    /// All calls are counted, with their times. This is when the turn began.
    Sampled(Instant),
}

/// A connection of a thread. It needs neither a thread nor a poller. The caller of [`Driven::ready`] drives it,
/// and acts on the [`Fate`] that is returned.
pub(crate) trait Driven<S> {
    type Transport: Transport;

    fn link(&mut self) -> &mut Link<Self::Transport>;

    /// The connection is in its slot, and has its first turn.
    fn open(&mut self, id: ConnId, is_stopping: bool, shared: &mut S) -> Fate;

    /// The socket is ready.
    fn ready(&mut self, readable: bool, writable: bool, shared: &mut S) -> Fate;

    /// The transport could not write its own bytes.
    fn write_failed(&mut self, error: io::Error, shared: &mut S) -> Fate;

    /// Other threads have sent something to it; see [`ThreadState::dirty`].
    fn flush(&mut self, shared: &mut S) -> Fate;

    /// A further turn, for bytes that have been read already.
    fn again(&mut self, shared: &mut S) -> Fate;

    /// What the poller has to watch for now. `None`: the same as before.
    fn interest(&mut self) -> Option<Interest>;

    /// When [`expire`](super::expire) is to be called.
    fn deadline(&self, shared: &S) -> Seconds;

    /// Whether it waits for its client to send or receive something.
    fn waits_for_client(&self) -> bool;

    /// The deadline has passed, and nothing has arrived.
    fn expire(&mut self, shared: &mut S) -> Fate;

    /// The handshake of its transport is not complete in time. The connection is closed.
    fn expire_handshake(&mut self, shared: &mut S) -> Fate;

    /// Reports the memory that it keeps until its next turn.
    fn settle(&mut self, shared: &mut S);

    /// Whether it lasts for as long as its client wants.
    fn lasts(&self) -> bool;

    /// Whether [`Driven::retire`] has something to do now.
    fn may_retire(&self) -> bool {
        false
    }

    /// The server drains: the connection ends with one of its next responses.
    fn retire(&mut self, _shared: &mut S) -> Fate {
        Fate::Open
    }

    /// The server stops.
    fn stop(&mut self, shared: &mut S) -> Fate;

    /// Its rank among the connections that are closed while memory is short.
    fn stall(&self, limit: Duration, now: Seconds) -> Option<Stall>;

    /// The connection is closed, because memory is short and it has made no progress.
    fn give_memory(&mut self, shared: &mut S) -> Fate;

    /// Gives back its buffers.
    fn close(self, shared: &mut S);

    /// A panic has ended its turn. Its unfinished work is dropped together with its buffers, so that nothing
    /// of it can reach another connection.
    fn abandon(self, panic: &Panic, shared: &mut S);
}
