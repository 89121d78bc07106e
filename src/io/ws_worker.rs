//! The loop of a WebSocket thread: it owns its connections, and nobody else touches them.

mod ending;

use super::clock::{self, Clock, Sampler};
use super::control::Control;
use super::poll::{Events, Poll};
use super::relief::Relief;
use super::slab::Slab;
use super::transport::Transport;
use super::worker::Ended;
use super::ws_connection::{Fate, WsConnection, WsShared};
use super::ws_mode::{Arrival, WsSeat};
use crate::config::Config;
use crate::conn::{
    Seconds, budget::Tally, id::ConnId, panic_guard::catch, prepared::Prepared,
    topics::Publication, ws_input::WsInputs,
};
use crate::log::event;
use crate::websocket::{
    WebSocketHandler,
    door::Command,
    hub::{Hub, WsId},
};
use crate::ws_drive::WsService;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// RFC 6455 section 7.4.1.
const GOING_AWAY: u16 = 1001;

/// Arrivals that there is room for without an allocation.
const KEPT_ARRIVALS: usize = 64;

/// What a WebSocket thread is started with.
pub(crate) struct WsWorker<H: WebSocketHandler, T> {
    pub(crate) index: usize,
    pub(crate) handler: Arc<H>,
    pub(crate) config: Arc<Config>,
    pub(crate) control: Arc<Control>,
    pub(crate) seats: Arc<[WsSeat<H::Conn, T>]>,
    pub(crate) hub: Hub,
    pub(crate) poll: Poll,
}

impl<H: WebSocketHandler, T: Transport> WsWorker<H, T> {
    /// Runs until the server stops.
    pub(crate) fn run(self) -> io::Result<Ended> {
        let seat = &self.seats[self.index];
        seat.door.adopt();
        let _open = OpenDoor(seat);
        let shared = WsShared {
            service: WsService::new(self.handler, self.hub),
            inputs: WsInputs::default(),
            poll: self.poll,
            counters: &seat.counters,
            limits: self.config.limits,
            tally: Tally::new(self.control.budget.clone()),
        };
        let worker = Loop {
            index: self.index,
            config: &self.config,
            control: &self.control,
            seat,
            shared,
            slab: Slab::new(),
            clock: Clock::new(),
            sampler: Sampler::new(self.config.timed_one_in, self.index),
            arrivals: Vec::new(),
            commands: Vec::new(),
            dirty: Vec::new(),
            again: Vec::new(),
            due: Vec::new(),
            relief: Relief::default(),
            receivers: Vec::new(),
            topics: 0,
            checked: Seconds::START,
            stop: None,
        };
        worker.run()
    }
}

/// If the thread ends early, nothing is sent to it any more, and what was is not left.
struct OpenDoor<'a, C, T>(&'a WsSeat<C, T>);

impl<C, T> Drop for OpenDoor<'_, C, T> {
    fn drop(&mut self) {
        self.0.counters.count_panics();
        // What comes after the proper end is for the worker that brings it.
        if !self.0.door.is_closed() {
            self.0.close();
            self.0.close_untaken();
        }
    }
}

struct Loop<'a, H: WebSocketHandler, T> {
    index: usize,
    config: &'a Config,
    control: &'a Control,
    seat: &'a WsSeat<H::Conn, T>,
    shared: WsShared<'a, H>,
    slab: Slab<WsConnection<H::Conn, T>>,
    clock: Clock,
    /// Which turns are timed.
    sampler: Sampler,
    arrivals: Vec<Arrival<H::Conn, T>>,
    commands: Vec<Command>,
    /// Connections that others have sent something to in this wake-up.
    dirty: Vec<ConnId>,
    /// Connections that have more to do without an event.
    again: Vec<ConnId>,
    due: Vec<ConnId>,
    relief: Relief,
    /// Of the publication that is being delivered.
    receivers: Vec<ConnId>,
    /// Bytes that the tally has for all topics.
    topics: u32,
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

impl<H: WebSocketHandler, T: Transport> Loop<'_, H, T> {
    fn run(mut self) -> io::Result<Ended> {
        let mut events = Events::new();
        loop {
            let timeout = self.timeout();
            let poll = &mut self.shared.poll;
            poll.wait_from(&self.clock, &mut events, timeout)?;
            let is_timed = self.sampler.next();
            self.clock.tick();
            self.shared.service.now = self.clock.seconds();
            self.shared.service.kit.short = self.shared.tally.is_over();
            self.run_again();
            for ready in events.iter() {
                self.act(ready.token.conn(), |connection, shared| {
                    connection.ready(ready.readable, ready.writable, shared)
                });
            }
            self.take_arrivals();
            self.take_commands();
            self.check_deadlines();
            self.free_memory();
            if self.control.is_stopping() {
                if let Some(ended) = self.stopping() {
                    return Ok(ended);
                }
            }
            self.flush_dirty();
            let topics = self.shared.service.topics.held();
            self.topics = self.shared.tally.count(self.topics, topics);
            self.clock.end_turn(is_timed, &self.seat.counters);
        }
    }

    /// Goes on with those that had more to do, once each. What comes of it waits for the next time, so
    /// that others have their turn between.
    fn run_again(&mut self) {
        let count = self.again.len();
        for i in 0..count {
            self.act(self.again[i], WsConnection::again);
        }
        self.again.drain(..count);
    }

    /// Forever, if nothing is due at any time.
    fn timeout(&self) -> Option<Duration> {
        // A hook has posted something, which wakes nobody; or one has more to do.
        if !self.seat.door.is_empty() || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.clock.to_next_second();
        let wait = match &self.stop {
            Some(stop) => Some(next.min(stop.at.saturating_duration_since(Instant::now()))),
            None => (!self.slab.is_empty()).then_some(next),
        };
        let relief = self.relief.timeout(self.clock.now());
        [wait, relief].into_iter().flatten().min()
    }

    /// Lets a connection do something, and sees to what follows from it. A panic in that ends this
    /// connection and nothing else.
    fn act(
        &mut self,
        token: ConnId,
        act: impl FnOnce(&mut WsConnection<H::Conn, T>, &mut WsShared<'_, H>) -> Fate,
    ) {
        let Some(connection) = self.slab.get_mut(token) else {
            return;
        };
        let shared = &mut self.shared;
        let fate = match catch(|| act(connection, shared)) {
            Ok(fate) => fate,
            Err(panic) => return self.lose(token, &panic),
        };
        if !self.shared.service.later.is_empty() {
            self.publish();
        }
        self.settle(token, fate);
    }

    /// Waits for what the connection waits for, or lets it go.
    fn settle(&mut self, token: ConnId, fate: Fate) {
        let Some((connection, deadline)) = self.slab.entry(token) else {
            return;
        };
        let dropped = std::mem::take(&mut self.shared.service.kit.dropped);
        if dropped > 0 {
            self.seat.counters.ws_dropped.add(dropped);
        }
        let sent = std::mem::take(&mut self.shared.service.kit.sent);
        if sent > 0 {
            self.seat.counters.bytes_written.add(sent);
        }
        let (shared, seats) = (&mut self.shared, &self.seat.door.seats);
        let again = &mut self.again;
        let stays = catch(|| {
            // What will be flushed at the end of the wake-up is settled then.
            let stays = fate != Fate::Closed
                && (connection.dirty || connection.watch(&shared.poll).is_ok());
            if stays {
                if fate == Fate::Again {
                    again.push(token);
                }
                if let Some(backlog) = connection.count(shared) {
                    seats.set_unsent(connection.id(), backlog);
                }
                *deadline = connection.deadline(shared);
            }
            stays
        });
        match stays {
            Ok(true) => {}
            Ok(false) => self.close(token, WsConnection::close),
            Err(panic) => self.lose(token, &panic),
        }
    }

    /// Hands what hooks have published to this thread's own connections. They are flushed at the
    /// end of the wake-up.
    fn publish(&mut self) {
        // No hook runs while this does, or what it publishes waits for the next round.
        let mut later = std::mem::take(&mut self.shared.service.later);
        for publication in later.drain(..) {
            self.fan_out(&publication);
        }
        match self.shared.service.later.is_empty() {
            true => self.shared.service.later = later,
            false => self.publish(),
        }
    }

    fn fan_out(&mut self, publication: &Publication) {
        // A copy, as a delivery needs all that the list lies in.
        let mut tokens = std::mem::take(&mut self.receivers);
        match &publication.topic {
            Some(topic) => tokens.extend_from_slice(self.shared.service.topics.members(topic)),
            None => self.slab.append_tokens(&mut tokens),
        }
        if let Some(except) = publication.except {
            tokens.retain(|&token| token != except);
        }
        let count = self.deliver(&tokens, &publication.message);
        tokens.clear();
        self.receivers = tokens;
        self.seat.counters.ws_published.add(1);
        self.seat.counters.ws_fanned_out.add(count);
    }

    /// Hands a message to each of these connections that is there. How many there were.
    fn deliver(&mut self, tokens: &[ConnId], message: &Prepared) -> u64 {
        let (mut next, mut count) = (0, 0);
        // One round, and one more for each that panics.
        while next < tokens.len() {
            let (slab, shared, dirty) = (&mut self.slab, &mut self.shared, &mut self.dirty);
            let delivered = catch(|| {
                while let Some(&token) = tokens.get(next) {
                    next += 1;
                    if let Some(connection) = slab.get_mut(token) {
                        count += 1;
                        if connection.deliver(message, shared) {
                            dirty.push(token);
                        }
                    }
                }
            });
            if let Err(panic) = delivered {
                self.lose(tokens[next - 1], &panic);
            }
        }
        count
    }

    fn flush_dirty(&mut self) {
        while !self.dirty.is_empty() {
            let mut dirty = std::mem::take(&mut self.dirty);
            for token in dirty.drain(..) {
                self.act(token, WsConnection::flush);
            }
            if self.dirty.is_empty() {
                self.dirty = dirty;
            }
        }
    }

    /// Takes connections that workers have handed over.
    fn take_arrivals(&mut self) {
        if self.seat.arrivals.is_empty() {
            return;
        }
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.seat.arrivals.take(&mut arrivals);
        for arrival in arrivals.drain(..) {
            let now = self.shared.service.now;
            let peer = arrival.peer();
            let connection = match catch(|| WsConnection::new(arrival, now)) {
                Ok(connection) => connection,
                Err(panic) => {
                    self.recover(&panic);
                    self.ended(peer);
                    continue;
                }
            };
            let token = self.slab.insert(connection);
            let id = WsId::new(self.index, token);
            let Some(connection) = self.slab.get_mut(token) else {
                continue;
            };
            connection.seat(id);
            self.seat.door.seats.enter(id, connection.ws().limits());
            self.act(token, WsConnection::open);
            if self.stop.is_some() {
                self.act(token, |connection, shared| {
                    connection.ws().close(GOING_AWAY, "", now);
                    connection.flush(shared)
                });
            }
        }
        // After a storm of them it would hold memory that nobody needs.
        arrivals.shrink_to(KEPT_ARRIVALS);
        self.arrivals = arrivals;
    }

    /// Does what other threads have asked for.
    fn take_commands(&mut self) {
        let mut commands = std::mem::take(&mut self.commands);
        self.seat.door.take(&mut commands);
        for command in commands.drain(..) {
            self.seat.door.taken(&command);
            self.obey(command);
        }
        self.commands = commands;
        let dropped = self.seat.door.take_dropped();
        if dropped > 0 {
            self.seat.counters.ws_dropped.add(dropped);
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.shared.service.now;
        match command {
            Command::Publish(topic, message) => self.fan_out(&Publication {
                topic,
                message,
                except: None,
            }),
            Command::Send(id, message) => {
                self.deliver(&[self.token(id)], &message);
            }
            Command::Overflow(id) => self.act(self.token(id), WsConnection::lose),
            Command::Missed => self.close_losers(),
            Command::Close(id, code, reason) => self.act(self.token(id), |connection, shared| {
                connection.ws().close(code, &reason, now);
                connection.flush(shared)
            }),
            Command::Subscribe(id, topic) => {
                let token = self.token(id);
                if let Some(connection) = self.slab.get_mut(token) {
                    let ws = connection.ws();
                    if ws.is_open() {
                        let topics = &mut self.shared.service.topics;
                        topics.subscribe(token, &topic, ws.limits());
                    }
                }
            }
            Command::Unsubscribe(id, topic) => {
                let token = self.token(id);
                self.shared.service.topics.unsubscribe(token, &topic);
            }
        }
    }

    /// Publications had no room on their way here: who was to miss nothing is closed.
    fn close_losers(&mut self) {
        let missed = self.seat.door.take_missed();
        let topics = &self.shared.service.topics;
        let mut tokens = Vec::new();
        for topic in &missed.topics {
            tokens.extend_from_slice(topics.members(topic));
        }
        if missed.any_topic {
            tokens.extend(topics.subscribers());
        }
        if missed.all {
            self.slab.append_tokens(&mut tokens);
        }
        for token in tokens {
            self.act(token, WsConnection::lose);
        }
    }

    fn token(&self, id: WsId) -> ConnId {
        id.conn()
    }

    /// Once a second.
    fn check_deadlines(&mut self) {
        let now = self.shared.service.now;
        if now == self.checked {
            return;
        }
        self.checked = now;
        self.shared.inputs.trim();
        self.shared.service.inflate.trim();
        self.shared.service.kit.trim();
        let mut due = std::mem::take(&mut self.due);
        self.slab.due(now, &mut due);
        for token in due.drain(..) {
            self.act(token, WsConnection::expire);
        }
        self.due = due;
    }

    /// Closes connections that hold memory without progress while it is short.
    fn free_memory(&mut self) {
        let mut first = std::mem::take(&mut self.due);
        let (now, second) = (self.clock.now(), self.shared.service.now);
        let limit = self.config.limits.stall_time;
        let stall = |connection: &WsConnection<_, T>| connection.stall(limit, second);
        let tally = &self.shared.tally;
        self.relief
            .search(&self.slab, tally, now, stall, &mut first);
        for token in first.drain(..) {
            if self.shared.tally.is_short() {
                self.act(token, WsConnection::give_memory);
            }
        }
        self.due = first;
    }

    /// Begins to stop, or looks whether that is done.
    fn stopping(&mut self) -> Option<Ended> {
        if self.stop.is_none() {
            self.stop = Some(Stop {
                at: clock::after(self.config.stop_time),
                drained: 0,
            });
            let connections = self.slab.len();
            event!(Info, { connections: connections }, "WebSocket thread stops");
            let now = self.shared.service.now;
            for token in self.slab.tokens() {
                self.act(token, |connection, shared| {
                    connection.ws().close(GOING_AWAY, "", now);
                    connection.flush(shared)
                });
            }
        }
        let stop = self.stop.as_ref()?;
        // In this order: who hands over does so before it says that it is done.
        let is_over = self.control.workers_are_done()
            && self.seat.arrivals.is_empty()
            && self.slab.is_empty();
        let is_late = self.control.is_cutting() || Instant::now() >= stop.at;
        if !is_over && !is_late {
            return None;
        }
        let mut ended = Ended {
            drained: stop.drained,
            cut: self.slab.len() as u64,
        };
        // Before the last hooks: what is posted meanwhile is not taken any more.
        self.seat.door.close();
        for token in self.slab.tokens() {
            self.settle(token, Fate::Closed);
        }
        // They never got as far as to be opened.
        ended.cut += self.seat.close_untaken();
        Some(ended)
    }
}
