//! `EventLoop<D>`: poll, clock, connections, deadlines, stop. One for each thread.
//!
//! There is one for all protocols. A [`Driver`] has what differs, and the loop is compiled for each of them:
//! [`http_driver`](crate::http::driver), [`ws_driver`](crate::websocket::driver).

mod driver;
mod ending;
mod handshakes;
mod waiting;

pub(crate) use driver::{Driven, Driver, ThreadState, Time, Timing};
use ending::Stop;
use handshakes::Handshakes;

use super::clock::{Clock, Sampler};
use super::memory_relief::MemoryRelief;
use super::poll::{Events, Interest, Poll};
use super::server_state::ServerState;
use super::slab::Slab;
use crate::config::Config;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::catch;
use peregrine_protocol::Seconds;
use std::hash::RandomState;
use std::io;
use std::time::Duration;

/// How long the loop waits before it asks the source of a body again that gave nothing.
const PAUSE: Duration = Duration::from_millis(10);

/// How many reads or writes a connection gets after its deadline, before the deadline is enforced.
const LOOKS: usize = 64;

/// Arrivals for which memory is kept.
const KEPT_ARRIVALS: usize = 64;

/// What becomes of a connection after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits for its socket.
    Open,
    /// It has more to do as soon as the other connections have had their turn.
    Again,
    /// It has more to do after a while.
    Later,
    /// It is to be closed.
    Closed,
    /// It goes on in another protocol; see [`Driver::upgrade`].
    Upgraded,
}

/// What became of a thread's connections when the server stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) drained: u64,
    pub(crate) cut: u64,
}

pub(crate) struct EventLoop<'a, D: Driver> {
    pub(crate) config: &'a Config,
    pub(crate) control: &'a ServerState,
    pub(crate) driver: D,
    pub(crate) poll: Poll,
    pub(crate) slab: Slab<D::Connection>,
    pub(crate) clock: Clock,
    /// Which turns are timed.
    sampler: Sampler,
    relief: MemoryRelief,
    /// The last wait was left out; see [`EventLoop::wait`].
    has_skipped: bool,
    /// Connections that have more to do without an event.
    again: Vec<ConnId>,
    /// Connections that get a turn after [`PAUSE`], because the source of their body gives nothing at
    /// present.
    later: Vec<ConnId>,
    /// When that is over.
    later_at: Duration,
    handshakes: Handshakes,
    /// Connections that have come and are not open yet.
    pub(crate) arrivals: Vec<D::Arrival>,
    commands: Vec<D::Command>,
    due: Vec<ConnId>,
    /// The second in which deadlines were last looked at.
    checked: Seconds,
    /// The second in which connections were last told that the server drains.
    retired: Seconds,
    /// For the moments at which they are told.
    random: RandomState,
    /// Since the server began to stop.
    stop: Option<Stop>,
}

/// The last turn of a thread has no end of its own, whether the server stops, the system fails or code panics.
impl<D: Driver> Drop for EventLoop<'_, D> {
    fn drop(&mut self) {
        self.driver.shared().counters().activity.rest();
        self.driver.before_wait();
    }
}

impl<'a, D: Driver> EventLoop<'a, D> {
    /// `index`: of the thread among those of its kind.
    pub(crate) fn new(
        index: usize,
        (config, control): (&'a Config, &'a ServerState),
        poll: Poll,
        mut driver: D,
    ) -> EventLoop<'a, D> {
        let clock = Clock::new();
        driver.shared().counters().activity.begin(clock.start());
        EventLoop {
            config,
            control,
            driver,
            poll,
            slab: Slab::new(),
            clock,
            sampler: Sampler::new(config.timed_one_in, index),
            relief: MemoryRelief::default(),
            has_skipped: false,
            again: Vec::new(),
            later: Vec::new(),
            later_at: Duration::ZERO,
            handshakes: Handshakes::default(),
            arrivals: Vec::new(),
            commands: Vec::new(),
            due: Vec::new(),
            checked: Seconds::START,
            retired: Seconds::START,
            random: RandomState::new(),
            stop: None,
        }
    }

    /// Runs until the server stops.
    pub(crate) fn run(mut self) -> io::Result<Ended> {
        let mut events = Events::new();
        loop {
            self.wait(&mut events)?;
            let is_timed = self.sampler.next();
            let unix = self.clock.tick();
            let timing = match is_timed {
                true => Timing::Sampled(self.clock.last_tick()),
                false if self.clock.was_late() => Timing::Watched,
                false => Timing::Off,
            };
            let now = self.clock.seconds();
            let time = Time { now, unix, timing };
            let shared = self.driver.shared();
            shared.counters().activity.wake(self.clock.now());
            shared.wake_up(time);
            #[cfg(not(all(test, unix)))]
            let delivered = events.iter();
            #[cfg(all(test, unix))]
            let delivered = self.control.delivery.of(&events);
            for ready in delivered {
                if !D::accept(&mut self, ready.token)? && !self.postpones(ready.token.conn()) {
                    self.act(ready.token.conn(), |connection, shared| {
                        if ready.writable {
                            if let Err(error) = connection.link().flush() {
                                return connection.write_failed(error, shared);
                            }
                        }
                        connection.ready(ready.readable, ready.writable, shared)
                    });
                }
            }
            self.take_arrivals();
            self.shake();
            self.take_commands();
            self.run_again();
            self.check_deadlines();
            self.free_memory();
            self.flush_dirty();
            D::turn(&mut self)?;
            if !self.control.phase.is_serving() {
                if let Some(ended) = self.leave()? {
                    return Ok(ended);
                }
                self.flush_dirty();
            }
            let counters = self.driver.shared().counters();
            self.clock.end_turn(is_timed, counters);
        }
    }

    /// Lets a connection do something, and sees to what follows from it. A panic in that ends this
    /// connection and nothing else.
    pub(crate) fn act(
        &mut self,
        id: ConnId,
        act: impl FnOnce(&mut D::Connection, &mut D::State) -> Fate,
    ) {
        let Some((connection, deadline)) = self.slab.entry(id) else {
            return;
        };
        let (shared, poll) = (self.driver.shared(), &self.poll);
        shared.begin(id);
        handshakes::set_listener_fields::<D>(connection, shared);
        let fate = catch(|| {
            let was_shaking = connection.link().is_handshaking();
            let fate = act(connection, shared);
            if was_shaking {
                handshakes::count(connection, fate, shared.counters());
            }
            if fate == Fate::Upgraded {
                return fate;
            }
            connection.settle(shared);
            if fate == Fate::Closed {
                return fate;
            }
            let interest = connection.interest();
            if connection.link().watch(interest, id, poll).is_err() {
                return Fate::Closed;
            }
            *deadline = due(connection, shared);
            let link = connection.link();
            match interest.is_some_and(Interest::is_read) && link.has_read_ahead() {
                true if fate == Fate::Open => Fate::Again,
                _ => fate,
            }
        });
        match fate {
            Ok(Fate::Open) => {}
            Ok(Fate::Again) => self.again.push(id),
            Ok(Fate::Later) => self.rest(id),
            Ok(Fate::Closed) => self.close(id, D::Connection::close),
            Ok(Fate::Upgraded) => D::upgrade(self, id),
            Err(panic) => self.lose(id, &panic),
        }
        D::acted(self);
    }

    /// Asks the source of the connection's body again when the pause is over.
    #[cold]
    fn rest(&mut self, id: ConnId) {
        if self.later.is_empty() {
            self.later_at = self.clock.now() + PAUSE;
        }
        self.later.push(id);
    }

    /// Takes connections that other threads have handed over.
    fn take_arrivals(&mut self) {
        let arrivals = self.driver.arrivals();
        if !arrivals.is_empty() {
            arrivals.take(&mut self.arrivals);
            self.open_arrivals();
        }
    }

    /// Opens each new connection with a read, because its first bytes have probably arrived. It is registered
    /// with the poller only if there was nothing to read.
    pub(crate) fn open_arrivals(&mut self) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        for arrival in arrivals.drain(..) {
            let counted = D::counted_addr(&arrival);
            let (driver, control) = (&mut self.driver, self.control);
            match catch(|| driver.connect(arrival, control)) {
                Ok(connection) => {
                    let id = self.slab.insert(connection);
                    let is_stopping = self.stop.is_some();
                    if !is_stopping && self.postpones(id) {
                        continue;
                    }
                    self.act(id, |connection, shared| {
                        connection.open(id, is_stopping, shared)
                    });
                }
                Err(panic) => {
                    self.recover(&panic);
                    self.ended(counted);
                }
            }
        }
        // After a burst of connections the list would keep memory that is not needed.
        arrivals.shrink_to(KEPT_ARRIVALS);
        self.arrivals = arrivals;
    }

    /// Opens a connection that was in the loop before, in another protocol.
    #[cfg(feature = "http2")]
    pub(crate) fn adopt(&mut self, connection: D::Connection) {
        let id = self.slab.insert(connection);
        let is_stopping = self.stop.is_some();
        self.act(id, |connection, shared| {
            connection.open(id, is_stopping, shared)
        });
    }

    /// Carries out the commands of other threads.
    fn take_commands(&mut self) {
        if self.driver.inbox().is_empty() {
            return;
        }
        let mut commands = std::mem::take(&mut self.commands);
        self.driver.inbox().take(&mut commands);
        for command in commands.drain(..) {
            D::command(self, command);
        }
        self.commands = commands;
        self.flush_dirty();
    }

    /// Flushes the connections to which other threads have sent something.
    #[inline]
    fn flush_dirty(&mut self) {
        if !self.driver.shared().dirty().is_empty() {
            self.flush_all_dirty();
        }
    }

    #[inline(never)]
    fn flush_all_dirty(&mut self) {
        while !self.driver.shared().dirty().is_empty() {
            let mut dirty = std::mem::take(self.driver.shared().dirty());
            for id in dirty.drain(..) {
                self.act(id, D::Connection::flush);
            }
            let next = self.driver.shared().dirty();
            if next.is_empty() {
                *next = dirty;
            }
        }
    }

    /// Gives each connection that has more to do one turn. If it still has more to do, it waits for the next
    /// turn of the loop, so that the others get theirs first.
    fn run_again(&mut self) {
        if !self.later.is_empty() && self.clock.now() >= self.later_at {
            self.again.append(&mut self.later);
        }
        if !self.again.is_empty() {
            self.go_on_with_all();
        }
    }

    #[inline(never)]
    fn go_on_with_all(&mut self) {
        // A connection to which other threads have sent something may be in the list twice.
        self.again.sort_unstable();
        self.again.dedup();
        let count = self.again.len();
        for i in 0..count {
            self.act(self.again[i], go_on);
        }
        self.again.drain(..count);
    }

    /// Enforces the deadlines, once a second.
    fn check_deadlines(&mut self) {
        let now = self.driver.shared().now();
        if now == self.checked {
            return;
        }
        self.checked = now;
        self.driver.shared().trim();
        let mut due = std::mem::take(&mut self.due);
        self.slab.due(now, &mut due);
        for id in due.drain(..) {
            self.act(id, expire);
        }
        self.due = due;
    }

    /// Closes connections that hold memory without progress while memory is short.
    #[inline]
    fn free_memory(&mut self) {
        if self.driver.shared().tally().is_short() || self.relief.goes_on() {
            self.close_stalled();
        }
    }

    #[cold]
    #[inline(never)]
    fn close_stalled(&mut self) {
        let mut first = std::mem::take(&mut self.due);
        let (now, second) = (self.clock.now(), self.clock.seconds());
        let limit = self.config.limits.stall_timeout;
        let stall = |connection: &D::Connection| connection.stall(limit, second);
        let tally = self.driver.shared().tally();
        self.relief
            .search(&self.slab, tally, now, stall, &mut first);
        for id in first.drain(..) {
            if self.driver.shared().tally().is_short() {
                self.act(id, D::Connection::give_memory);
            }
        }
        self.due = first;
    }
}

/// Continues with bytes that the connection or its transport has read already.
fn go_on<S: ThreadState, C: Driven<S>>(connection: &mut C, shared: &mut S) -> Fate {
    let fate = connection.again(shared);
    let may_read = matches!(fate, Fate::Open | Fate::Later) && connection.link().has_read_ahead();
    if !may_read || !connection.interest().is_some_and(Interest::is_read) {
        return fate;
    }
    match connection.ready(true, false, shared) {
        Fate::Open => fate,
        fate => fate,
    }
}

/// When a connection needs a turn without an event.
#[inline]
fn due<S: ThreadState, C: Driven<S>>(connection: &mut C, shared: &S) -> Seconds {
    match connection.link().is_starved() {
        true => shared.now().next(),
        false => {
            let handshake = connection.link().handshake();
            let deadline = connection.deadline(shared);
            handshake.map_or(deadline, |handshake| handshake.min(deadline))
        }
    }
}

/// The deadline of a connection has passed. Bytes that arrived in time count even if they are not read yet:
/// the process may have been suspended, or the system may have lacked memory for the read.
pub(crate) fn expire<S: ThreadState, C: Driven<S>>(connection: &mut C, shared: &mut S) -> Fate {
    connection.link().retry();
    for _ in 0..LOOKS {
        if due(connection, shared) > shared.now() {
            return Fate::Open;
        }
        // Whatever has come of it: it takes long to look at, and there may be many.
        if connection.link().is_handshaking() {
            return connection.expire_handshake(shared);
        }
        // Other connections have nothing to read: they do not wait for a client, or wait only for its end.
        if !connection.waits_for_client() {
            return connection.expire(shared);
        }
        let before = shared.moved();
        let fate = connection.ready(true, true, shared);
        if fate != Fate::Open {
            return fate;
        }
        if shared.moved() == before {
            return connection.expire(shared);
        }
    }
    // It moved more than one turn may move, so it is not slow.
    Fate::Open
}
