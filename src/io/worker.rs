//! The loop of a worker thread: it owns its connections, and nobody else touches them.

use super::accept::{BACK_OFF, Listeners, Pause};
use super::clock::{Clock, Sampler};
use super::connection::{Connection, Fate, Shared};
use super::control::{Accepted, Control, Seat};
use super::listener::Listener;
use super::mode::Mode;
use super::poll::{Events, Poll, Token};
use super::slab::{self, RESERVED_TOKENS, Slab};
use crate::config::Config;
use crate::conn::{Seconds, pool::Pool, timers::Timers};
use crate::drive::Service;
use crate::handler::Handler;
use crate::late::{Address, Command, Door, Place};
use crate::log::event;
use crate::response::Wire;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Connections that a worker takes from its own listener before it looks at the others again.
const BATCH: usize = 64;

/// Timers that are called before others get their turn.
const TIMERS: usize = 256;

/// What a worker thread is started with.
pub(crate) struct Worker<H, M> {
    pub(crate) index: usize,
    pub(crate) handler: Arc<H>,
    pub(crate) config: Arc<Config>,
    pub(crate) control: Arc<Control>,
    pub(crate) poll: Poll,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) mode: M,
}

/// What became of a worker's connections when the server stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) drained: u64,
    pub(crate) cut: u64,
}

impl<H: Handler, M: Mode<H>> Worker<H, M> {
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
                now: 0,
                is_timed: false,
            },
            pool: Pool::default(),
            poll: self.poll,
            counters: &seat.counters,
            mode: self.mode,
            place: Place::default(),
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
            resume_at: Duration::ZERO,
            again: Vec::new(),
            arrivals: Vec::new(),
            commands: Vec::new(),
            touched: Vec::new(),
            due: Vec::new(),
            checked: 0,
            stop: None,
        };
        worker.run()
    }
}

/// Closes the door when the worker ends, however it does.
struct Open<'a>(&'a Door);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Loop<'a, H, M> {
    config: &'a Config,
    control: &'a Control,
    seat: &'a Seat,
    shared: Shared<'a, H, M>,
    slab: Slab<Connection>,
    listeners: Listeners,
    clock: Clock,
    /// Which turns are timed.
    sampler: Sampler,
    timers: Timers,
    /// When accepting goes on after it has failed.
    resume_at: Duration,
    /// Connections that have more to do without an event.
    again: Vec<Token>,
    arrivals: Vec<Accepted>,
    commands: Vec<Command>,
    /// Connections that have had commands.
    touched: Vec<Token>,
    due: Vec<Token>,
    /// The second in which deadlines were last looked at.
    checked: Seconds,
    /// Since the server began to stop.
    stop: Option<Stop>,
}

struct Stop {
    /// When what is still open is cut.
    at: Instant,
    drained: u64,
}

impl<H: Handler, M: Mode<H>> Loop<'_, H, M> {
    fn run(mut self) -> io::Result<Ended> {
        let mut events = Events::new();
        self.listeners.watch(true, &self.shared.poll)?;
        loop {
            self.shared.poll.wait(&mut events, self.timeout())?;
            self.shared.service.is_timed = self.sampler.next();
            if let Some(unix) = self.clock.tick() {
                self.shared.service.wire.heads.set_time(unix);
            }
            self.shared.service.now = self.clock.seconds();
            for ready in events.iter() {
                match self.listeners.index(ready.token) {
                    Some(index) => self.accept(index)?,
                    None => self.act(ready.token, |connection, shared| {
                        connection.ready(ready.readable, shared)
                    }),
                }
            }
            self.take_arrivals();
            self.take_commands();
            self.call_timers();
            self.run_again();
            self.check_deadlines();
            self.resume_accepting()?;
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
            if let Some(connection) = self.slab.remove(token) {
                let (slot, _) = slab::parts(token);
                self.shared.place = Place { token, slot };
                connection.close(&mut self.shared);
                self.seat.counters.closed.add(1);
            }
        }
    }

    /// Forever, if nothing is due at any time.
    fn timeout(&self) -> Option<Duration> {
        let timeout = self.timeout_without_timers();
        let Some(at) = self.timers.next() else {
            return timeout;
        };
        let wait = at.saturating_sub(self.clock.elapsed());
        Some(timeout.map_or(wait, |timeout| timeout.min(wait)))
    }

    fn timeout_without_timers(&self) -> Option<Duration> {
        if !self.again.is_empty() || !self.seat.door.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.clock.to_next_second();
        match &self.stop {
            Some(stop) => Some(next.min(stop.at.saturating_duration_since(Instant::now()))),
            None if self.is_closed_for_now() => Some(BACK_OFF),
            None => (!self.slab.is_empty()).then_some(next),
        }
    }

    /// Lets a connection do something, and sees to what follows from it.
    fn act(
        &mut self,
        token: Token,
        act: impl FnOnce(&mut Connection, &mut Shared<'_, H, M>) -> Fate,
    ) {
        let Some(connection) = self.slab.get_mut(token) else {
            return;
        };
        let (slot, _) = slab::parts(token);
        self.shared.place = Place { token, slot };
        let fate = act(connection, &mut self.shared);
        if fate == Fate::Upgraded {
            return self.hand_over(token);
        }
        if fate != Fate::Closed && connection.watch(token, &self.shared.poll).is_ok() {
            let deadline = connection.deadline(self.shared.service.now, &self.shared);
            self.slab.set_deadline(token, deadline);
            if fate == Fate::Again {
                self.again.push(token);
            }
            return;
        }
        if let Some(connection) = self.slab.remove(token) {
            connection.close(&mut self.shared);
            self.seat.counters.closed.add(1);
            if let Some(stop) = &mut self.stop {
                stop.drained += 1;
            }
        }
    }

    /// The connection goes to a thread for its new protocol.
    fn hand_over(&mut self, token: Token) {
        if let Some(connection) = self.slab.remove(token) {
            let moved = connection.into_moved(&mut self.shared);
            self.seat.counters.upgraded.add(1);
            self.shared.mode.hand_over(moved);
        }
    }

    /// Takes connections from a listener of its own.
    fn accept(&mut self, index: usize) -> io::Result<()> {
        let most = self.room().min(BATCH);
        let arrivals = &mut self.arrivals;
        let pause = self.listeners.accept(index, most, self.config, |accepted| {
            arrivals.push(accepted);
        });
        self.seat
            .given
            .fetch_add(self.arrivals.len() as u64, Ordering::Relaxed);
        self.open_arrivals();
        if pause == Pause::Exhausted {
            self.resume_at = self.clock.now() + BACK_OFF;
        }
        if pause == Pause::Exhausted || self.room() == 0 {
            self.listeners.watch(false, &self.shared.poll)?;
        }
        self.listeners.renew(index, &self.shared.poll)
    }

    fn room(&self) -> usize {
        let most = self
            .config
            .limits
            .connections_per_worker
            .min(RESERVED_TOKENS);
        most.saturating_sub(self.slab.len())
    }

    /// It has listeners of its own and does not look at them, being full or out of descriptors.
    fn is_closed_for_now(&self) -> bool {
        !self.listeners.is_empty() && !self.listeners.is_watched()
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
            let connection = Connection::new(accepted, now, self.config.keep_alive);
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
        let mut commands = std::mem::take(&mut self.commands);
        self.seat.door.take(&mut commands);
        for command in commands.drain(..) {
            let Some(Address { place, .. }) = command.address() else {
                if let Command::Timer(timer) = command {
                    self.timers.add(timer, self.clock.elapsed());
                }
                continue;
            };
            let token = place.token;
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
        let count = self.again.len();
        for i in 0..count {
            self.act(self.again[i], Connection::again);
        }
        self.again.drain(..count);
    }

    /// Accepts again when there is room, and reason to hope for descriptors.
    fn resume_accepting(&mut self) -> io::Result<()> {
        let is_due = self.clock.now() >= self.resume_at && self.room() > 0;
        match self.is_closed_for_now() && is_due && self.stop.is_none() {
            true => self.listeners.watch(true, &self.shared.poll),
            false => Ok(()),
        }
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
                at: Instant::now() + self.config.stop_time,
                drained: 0,
            });
            let connections = self.slab.len();
            event!(Info, { connections: connections }, "worker stops");
            let arrivals = &mut self.arrivals;
            let take = |accepted| arrivals.push(accepted);
            let leaves = self.control.leaves_backlog();
            self.listeners
                .close(&self.shared.poll, self.config, leaves, take)?;
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
            cut: self.slab.len() as u64,
        }))
    }
}
