//! The loop of a worker thread: it owns its connections, and nobody else touches them.

mod ending;
mod waiting;

use super::accept::{BACK_OFF, Listeners};
use super::clock::{self, Clock, Sampler};
use super::connection::{Connection, Fate, Shared};
use super::control::{Accepted, Control, Seat};
use super::listener::{Listener, ListenerId};
use super::mode::Mode;
use super::poll::{Events, Poll};
use super::relief::Relief;
use super::slab::Slab;
use super::transport::Transport;
use crate::config::Config;
use crate::conn::{
    Seconds, budget::Tally, id::ConnId, panic_guard::catch, pool::Pool, timers::Timers,
};
use crate::drive::Service;
use crate::handler::Handler;
use crate::late::{Address, Command, Door};
use crate::log::event;
use crate::response::Wire;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Connections that a worker takes from its own listener before it looks at the others again.
const BATCH: usize = 64;

/// Timers that are called before others get their turn.
const TIMERS: usize = 256;

/// For each connection, how long none is looked for that is idle after too few were: a hundred times
/// what a look takes, at most.
pub(super) const REST: Duration = Duration::from_micros(10);

/// How long a body is left alone whose source gives nothing: it is asked a hundred times a second.
const PAUSE: Duration = Duration::from_millis(10);

/// What a worker thread is started with.
pub(crate) struct Worker<H, M, T> {
    pub(crate) index: usize,
    pub(crate) handler: Arc<H>,
    pub(crate) config: Arc<Config>,
    pub(crate) control: Arc<Control>,
    pub(crate) poll: Poll,
    pub(crate) listeners: Vec<(ListenerId, Listener)>,
    pub(crate) mode: M,
    pub(crate) transport: PhantomData<fn() -> T>,
}

/// What became of a worker's connections when the server stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) drained: u64,
    pub(crate) cut: u64,
}

impl<H: Handler, M: Mode<H, T>, T: Transport> Worker<H, M, T> {
    /// Runs until the server stops.
    pub(crate) fn run(self) -> io::Result<Ended> {
        if self.config.cpu_affinity {
            super::affinity::bind_thread(self.index);
        }
        let control = &*self.control;
        let _serving = control.worker_starts();
        let seat = &control.seats[self.index];
        seat.door.adopt();
        let _open = Open(&seat.door);
        let shared = Shared {
            service: Service {
                handler: self.handler,
                limits: self.config.limits,
                hosts: self.config.allowed_hosts.clone(),
                wire: Wire::new(self.config.server_name.as_deref(), seat.door.clone()),
                now: Seconds::START,
                is_timed: false,
                lasting: control.capacity.lasting.clone(),
            },
            pool: Pool::default(),
            poll: self.poll,
            counters: &seat.counters,
            mode: self.mode,
            tally: Tally::new(control.budget.clone()),
            place: ConnId::default(),
        };
        let worker = Loop {
            config: &self.config,
            control,
            seat,
            shared,
            slab: Slab::new(),
            listeners: Listeners::new(self.listeners),
            clock: Clock::new(),
            sampler: Sampler::new(self.config.timed_one_in, self.index),
            timers: Timers::default(),
            rested_at: Duration::ZERO,
            relief: Relief::default(),
            again: Vec::new(),
            later: Vec::new(),
            later_at: Duration::ZERO,
            arrivals: Vec::new(),
            commands: Vec::new(),
            touched: Vec::new(),
            due: Vec::new(),
            checked: Seconds::START,
            stop: None,
            cut: 0,
        };
        let ended = worker.run();
        // What the end has dropped, too.
        seat.counters.count_panics();
        ended
    }
}

/// Closes the door when the worker ends, however it does.
struct Open<'a>(&'a Door);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Loop<'a, H, M, T> {
    config: &'a Config,
    control: &'a Control,
    seat: &'a Seat,
    shared: Shared<'a, H, M>,
    slab: Slab<Connection<T>>,
    listeners: Listeners,
    clock: Clock,
    /// Which turns are timed.
    sampler: Sampler,
    timers: Timers,
    /// When idle connections are looked for again, after too few were found.
    rested_at: Duration,
    relief: Relief,
    /// Connections that have more to do without an event.
    again: Vec<ConnId>,
    /// The same, after [`PAUSE`]: those whose body gives nothing at present.
    later: Vec<ConnId>,
    /// When that is over.
    later_at: Duration,
    arrivals: Vec<Accepted>,
    commands: Vec<Command>,
    /// Connections that have had commands.
    touched: Vec<ConnId>,
    due: Vec<ConnId>,
    /// The second in which deadlines were last looked at.
    checked: Seconds,
    /// Since the server began to stop.
    stop: Option<Stop>,
    /// Connections whose thread had ended when they were handed over.
    cut: u64,
}

struct Stop {
    /// When what is still open is cut.
    at: Instant,
    drained: u64,
}

impl<H: Handler, M: Mode<H, T>, T: Transport> Loop<'_, H, M, T> {
    fn run(mut self) -> io::Result<Ended> {
        let mut events = Events::new();
        self.listeners.watch(true, &self.shared.poll)?;
        loop {
            let timeout = self.timeout();
            let poll = &mut self.shared.poll;
            poll.wait_from(&self.clock, &mut events, timeout)?;
            self.shared.service.is_timed = self.sampler.next();
            if let Some(unix) = self.clock.tick() {
                self.shared.service.wire.heads.set_time(unix);
            }
            self.shared.service.now = self.clock.seconds();
            for ready in events.iter() {
                match self.listeners.index(ready.token) {
                    Some(index) => self.accept(index)?,
                    None => self.act(ready.token.conn(), |connection, shared| {
                        connection.ready(ready.readable, shared)
                    }),
                }
            }
            self.take_arrivals();
            self.take_commands();
            self.call_timers();
            self.run_again();
            self.check_deadlines();
            self.make_room();
            self.free_memory();
            self.listeners.resume(self.control, &self.shared.poll)?;
            if self.control.is_stopping() {
                if let Some(ended) = self.stopping()? {
                    self.cut();
                    return Ok(ended);
                }
            }
            self.clock
                .end_turn(self.shared.service.is_timed, self.shared.counters);
        }
    }

    /// Closes what is still open.
    fn cut(&mut self) {
        for token in self.slab.tokens() {
            self.shared.place = token;
            self.close(token, Connection::close);
        }
        #[cfg(test)]
        assert_eq!(self.shared.pool.away, 0, "buffers that were not given back");
    }

    /// Lets a connection do something, and sees to what follows from it. A panic in that ends this
    /// connection and nothing else.
    fn act(
        &mut self,
        token: ConnId,
        act: impl FnOnce(&mut Connection<T>, &mut Shared<'_, H, M>) -> Fate,
    ) {
        let Some((connection, deadline)) = self.slab.entry(token) else {
            return;
        };
        let shared = &mut self.shared;
        shared.place = token;
        let fate = catch(|| {
            let fate = act(connection, shared);
            if fate == Fate::Upgraded {
                return fate;
            }
            connection.count(shared);
            if fate == Fate::Closed || connection.watch(token, &shared.poll).is_err() {
                return Fate::Closed;
            }
            *deadline = connection.deadline(shared.service.now, shared);
            fate
        });
        match fate {
            Ok(Fate::Open) => {}
            Ok(Fate::Again) => self.again.push(token),
            Ok(Fate::Later) => self.rest(token),
            Ok(Fate::Closed) => self.close(token, Connection::close),
            Ok(Fate::Upgraded) => self.hand_over(token),
            Err(panic) => self.lose(token, &panic),
        }
    }

    /// The body of this connection is asked for more when the pause is over.
    #[cold]
    fn rest(&mut self, token: ConnId) {
        if self.later.is_empty() {
            self.later_at = self.clock.now() + PAUSE;
        }
        self.later.push(token);
    }

    /// The connection goes to a thread for its new protocol.
    fn hand_over(&mut self, token: ConnId) {
        let Some(connection) = self.slab.remove(token) else {
            return;
        };
        let peer = connection.peer();
        let shared = &mut self.shared;
        match catch(|| connection.into_moved(shared)) {
            Ok(moved) => {
                self.seat.counters.upgraded.add(1);
                self.cut += self.shared.mode.hand_over(moved);
            }
            Err(panic) => {
                self.recover(&panic);
                self.ended(peer);
            }
        }
    }

    /// Takes connections from a listener of its own.
    fn accept(&mut self, index: usize) -> io::Result<()> {
        let shop = (self.control, self.config, &self.shared.poll);
        let arrivals = &mut self.arrivals;
        self.listeners
            .accept(index, BATCH, shop, |accepted| arrivals.push(accepted))?;
        let taken = self.arrivals.len() as u64;
        self.seat.given.fetch_add(taken, Ordering::Relaxed);
        self.open_arrivals();
        Ok(())
    }

    /// Takes connections that accept threads have handed over.
    fn take_arrivals(&mut self) {
        if !self.seat.mailbox.is_empty() {
            self.seat.mailbox.take(&mut self.arrivals);
            self.open_arrivals();
        }
    }

    /// The first request is likely to be there already: the poller hears of a connection only when
    /// there was nothing to read.
    fn open_arrivals(&mut self) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.seat.counters.accepted.add(arrivals.len() as u64);
        for accepted in arrivals.drain(..) {
            let now = self.shared.service.now;
            let listener = self.control.listener_config(accepted.listener);
            let connection = Connection::new(accepted, listener, now, self.config.keep_alive);
            let token = self.slab.insert(connection);
            match self.stop {
                None => self.act(token, Connection::read),
                Some(_) => self.act(token, Connection::stop),
            }
        }
        self.arrivals = arrivals;
    }

    /// Takes what has come for answers that are to come: all of it before anything is sent, so that
    /// what came together leaves together.
    fn take_commands(&mut self) {
        if self.seat.door.is_empty() {
            return;
        }
        let mut commands = std::mem::take(&mut self.commands);
        self.seat.door.take(&mut commands);
        for command in commands.drain(..) {
            let Some(Address { place, .. }) = command.address() else {
                if let Command::Timer(timer) = command {
                    self.timers.add(timer, self.clock.elapsed());
                }
                continue;
            };
            let token = place;
            self.act(token, |connection, shared| {
                connection.command(command, shared)
            });
            if self.touched.last() != Some(&token) {
                self.touched.push(token);
            }
        }
        self.commands = commands;
        let mut touched = std::mem::take(&mut self.touched);
        for token in touched.drain(..) {
            self.act(token, Connection::go_on);
        }
        self.touched = touched;
    }

    /// Calls what is due, a few at a time.
    fn call_timers(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let now = self.clock.now();
        let (service, counters) = (&self.shared.service, self.shared.counters);
        for _ in 0..TIMERS {
            if !service.call_timer(&mut self.timers, now, counters) {
                break;
            }
        }
    }

    /// Goes on with those that had more to do, once each.
    fn run_again(&mut self) {
        if !self.later.is_empty() && self.clock.now() >= self.later_at {
            // One that others have sent something to may be there twice.
            self.later.sort_unstable();
            self.later.dedup();
            self.again.append(&mut self.later);
        }
        let count = self.again.len();
        for i in 0..count {
            self.act(self.again[i], Connection::again);
        }
        self.again.drain(..count);
    }

    /// Closes connections that have been idle longest, if it has been asked to.
    fn make_room(&mut self) {
        let asked = self.seat.asked.load(Ordering::Acquire);
        if asked == 0 {
            return;
        }
        let now = self.clock.now();
        // Room may have been made meanwhile.
        if self.control.capacity.is_awaited() && now >= self.rested_at {
            let mut first = std::mem::take(&mut self.due);
            let second = self.shared.service.now;
            let is_spare = |connection: &Connection<T>| connection.is_spare(second);
            self.slab.first_due(asked, is_spare, &mut first);
            if first.len() < asked {
                self.rested_at = now + BACK_OFF.max(REST * self.slab.len() as u32);
            }
            for token in first.drain(..) {
                self.act(token, Connection::give_way);
            }
            self.due = first;
        }
        // Not before they are closed.
        self.seat.asked.store(0, Ordering::Release);
    }

    /// Closes connections that hold memory without progress while it is short.
    #[inline]
    fn free_memory(&mut self) {
        if self.shared.tally.is_short() || self.relief.goes_on() {
            self.close_stalled();
        }
    }

    #[cold]
    #[inline(never)]
    fn close_stalled(&mut self) {
        let mut first = std::mem::take(&mut self.due);
        let (now, second) = (self.clock.now(), self.shared.service.now);
        let limit = self.config.limits.stall_time;
        let stall = |connection: &Connection<T>| connection.stall(limit, second);
        let tally = &self.shared.tally;
        self.relief
            .search(&self.slab, tally, now, stall, &mut first);
        for token in first.drain(..) {
            if self.shared.tally.is_short() {
                self.act(token, Connection::give_memory);
            }
        }
        self.due = first;
    }

    /// Once a second.
    fn check_deadlines(&mut self) {
        let now = self.shared.service.now;
        if now == self.checked {
            return;
        }
        self.checked = now;
        let mut due = std::mem::take(&mut self.due);
        self.slab.due(now, &mut due);
        for token in due.drain(..) {
            self.act(token, Connection::expire);
        }
        self.due = due;
    }

    /// Begins to stop, or looks whether that is done.
    fn stopping(&mut self) -> io::Result<Option<Ended>> {
        if self.stop.is_none() {
            self.stop = Some(Stop {
                at: clock::after(self.config.stop_time),
                drained: 0,
            });
            let connections = self.slab.len();
            event!(Info, { connections: connections }, "worker stops");
            let arrivals = &mut self.arrivals;
            let take = |accepted| arrivals.push(accepted);
            self.listeners
                .close((self.control, &self.shared.poll), take)?;
            for token in self.slab.tokens() {
                self.act(token, Connection::stop);
            }
            self.open_arrivals();
        }
        let Some(stop) = &self.stop else {
            return Ok(None);
        };
        // In this order: who hands over does so before it says that it is done.
        let is_over = self.control.acceptors_are_done()
            && self.seat.mailbox.is_empty()
            && self.slab.is_empty();
        let is_late = self.control.is_cutting() || Instant::now() >= stop.at;
        Ok((is_over || is_late).then(|| Ended {
            drained: stop.drained,
            cut: self.slab.len() as u64 + self.cut,
        }))
    }
}
