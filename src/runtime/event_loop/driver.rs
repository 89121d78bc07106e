//! `Driver`: what a protocol implements to run in the event loop.

use super::{EventLoop, Fate};
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
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// A protocol in the event loop of a thread: where its connections and commands come from, and what it
/// does beside serving them.
pub(crate) trait Driver: Sized {
    type Connection: Driven<Self::State>;
    /// What its connections share.
    type State: ThreadState;
    /// A connection that another thread hands over.
    type Arrival;
    /// What other threads want of it.
    type Command;

    /// What an event of the log calls the thread, and a connection.
    const THREAD: &'static str;
    const CONNECTION: &'static str;

    fn shared(&mut self) -> &mut Self::State;

    fn arrivals(&self) -> &Mailbox<Self::Arrival>;

    fn inbox(&self) -> &Inbox<Self::Command>;

    /// Whether no thread will hand over a connection any more.
    fn has_all(control: &ServerState) -> bool;

    fn peer_of(arrival: &Self::Arrival) -> Option<SocketAddr>;

    fn connect(&mut self, arrival: Self::Arrival, control: &ServerState) -> Self::Connection;

    /// Does what another thread has asked for.
    fn command(events: &mut EventLoop<'_, Self>, command: Self::Command);

    /// False if an event with this token is of a connection.
    #[inline]
    fn accept(_events: &mut EventLoop<'_, Self>, _token: Token) -> io::Result<bool> {
        Ok(false)
    }

    /// A connection has had its turn, or has ended.
    #[inline]
    fn acted(_events: &mut EventLoop<'_, Self>) {}

    /// Once in each turn of the loop, when all connections have had theirs.
    fn turn(events: &mut EventLoop<'_, Self>) -> io::Result<()>;

    /// After how long [`Driver::turn`] has something to do without an event; `None` if it never has.
    /// `now`: since the start of the clock.
    #[inline]
    fn timeout(&self, _now: Duration, _control: &ServerState) -> Option<Duration> {
        None
    }

    /// The connection goes to a thread for its new protocol; see [`Fate::Upgraded`].
    fn upgrade(_events: &mut EventLoop<'_, Self>, _id: ConnId) {}

    /// A connection has gone.
    #[inline]
    fn ended(&mut self, _control: &ServerState) {}

    /// Puts in order what a panic in the turn of a connection may have left half done.
    fn recover(&mut self);

    /// A connection was lost in a panic, with the buffers that it had lent.
    #[cfg(test)]
    fn lost(&mut self, _left: &mut Slab<Self::Connection>) {}

    /// The server begins to stop: connections in the backlog are moved to [`EventLoop::arrivals`].
    fn stop(_events: &mut EventLoop<'_, Self>) -> io::Result<()> {
        Ok(())
    }

    /// What is still open is about to be closed.
    fn cut(&mut self) {}

    /// It is. How many connections had to be closed beside those of the loop.
    fn finish(&mut self) -> u64;
}

/// What the connections of one thread share, as far as the loop has to know it.
pub(crate) trait ThreadState {
    fn now(&self) -> Seconds;

    fn tally(&mut self) -> &mut LocalUsage;

    /// Connections that others have sent something to, and that are to be flushed when all of it has
    /// come: what came together leaves together.
    fn dirty(&mut self) -> &mut Vec<ConnId>;

    fn counters(&self) -> &WorkerCounters;

    /// The loop has waited.
    fn wake_up(&mut self, time: Time);

    /// The turn of this connection begins.
    #[inline]
    fn begin(&mut self, _id: ConnId) {}

    /// Once a second: lets go of what has grown.
    fn trim(&mut self) {}

    /// Bytes of all connections, in and out.
    fn moved(&self) -> u64 {
        self.counters().bytes_read.get() + self.counters().bytes_written.get()
    }
}

/// What the clock said when the loop had waited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) now: Seconds,
    /// Seconds since 1970, when they may have changed.
    pub(crate) unix: Option<u64>,
    /// This turn of the loop is timed.
    pub(crate) is_timed: bool,
}

/// A connection of a thread. It needs neither a thread nor a poller. The caller of [`Driven::ready`] drives it,
/// and acts on the [`Fate`] that is returned.
pub(crate) trait Driven<S> {
    type Transport: Transport;

    fn link(&mut self) -> &mut Link<Self::Transport>;

    /// It is in its slot, and has its first turn.
    fn open(&mut self, id: ConnId, is_stopping: bool, shared: &mut S) -> Fate;

    /// The socket is ready.
    fn ready(&mut self, readable: bool, writable: bool, shared: &mut S) -> Fate;

    /// Others have sent something to it; see [`ThreadState::dirty`].
    fn flush(&mut self, shared: &mut S) -> Fate;

    /// The turn comes round again for what has come already.
    fn again(&mut self, shared: &mut S) -> Fate;

    /// What it waits for now; `None` if it is to be watched as before.
    fn interest(&mut self) -> Option<Interest>;

    /// When [`expire`](super::expire) is due.
    fn deadline(&self, shared: &S) -> Seconds;

    /// It waits for its client to send or take something.
    fn waits_for_client(&self) -> bool;

    /// The deadline has passed, and nothing has come.
    fn expire(&mut self, shared: &mut S) -> Fate;

    /// Counts what it keeps until its next turn.
    fn settle(&mut self, shared: &mut S);

    /// The server stops.
    fn stop(&mut self, shared: &mut S) -> Fate;

    /// Its place among those that are closed while memory is short.
    fn stall(&self, limit: Duration, now: Seconds) -> Option<Stall>;

    /// Memory is short, and it has made no progress.
    fn give_memory(&mut self, shared: &mut S) -> Fate;

    /// Gives back what it holds.
    fn close(self, shared: &mut S);

    /// A panic has ended its turn: what it was at is thrown away, its buffers included, and nothing of
    /// it goes to another connection.
    fn abandon(self, panic: &Panic, shared: &mut S);
}
