//! A topic with subscribers: what they have got, and what they wait for.
//!
//! Not here: locks, threads, clocks, logs and connections. `C` is a client that subscribes, `R` a message in the forms
//! in which it is sent.
//!
//! Invariants: all subscribers have got the messages up to `position`, each message once and in order. `tail` ends at
//! `position` and has no gap. While the main read is made, new messages wait in `held`, new clients in `waiting`.

mod found;
mod waiting;

use self::waiting::{Held, Waiting};
use super::log::{LogError, Start};
use super::position::Position;
use std::collections::{HashMap, VecDeque};

/// A message with its offset.
#[derive(Clone, Debug)]
pub(super) struct Kept<R> {
    pub(super) offset: u64,
    pub(super) bytes: usize,
    pub(super) forms: R,
}

/// As [`Read`](super::log::Read).
pub(super) enum Found<R> {
    Recovered(Vec<Kept<R>>, Position),
    Lost(Position),
}

/// Where messages and notices go.
pub(super) trait Outlet<C, R> {
    /// A message to all subscribers.
    fn publish(&mut self, message: &Kept<R>);
    /// All subscribers may have lost messages before this position.
    fn lost(&mut self, position: Position);
    /// Sends to one client what it has missed, and subscribes it. `missed` is `None` if messages are lost.
    fn serve(&mut self, client: C, missed: Option<Vec<&Kept<R>>>, position: Option<Position>);
}

/// A read that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) start: Start,
    /// It is to tell where the topic stands. Otherwise, what one position has missed.
    pub(super) is_main: bool,
}

/// How much a track keeps, and recovers for one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrackLimits {
    pub(super) messages: usize,
    pub(super) tail_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No read was successful yet.
    Unopened,
    /// The main read is made.
    Reading,
    Live,
}

pub(super) struct Track<C, R> {
    limits: TrackLimits,
    state: State,
    position: Option<Position>,
    /// There are clients that were subscribed without a position.
    is_blind: bool,
    /// After the main read, another one is to be made.
    again: bool,
    /// The last main read has failed.
    is_behind: bool,
    tail: VecDeque<Kept<R>>,
    tail_bytes: usize,
    /// The log has no message before those of `tail`.
    is_whole: bool,
    /// Messages up to this offset were there when [`Track::age`] was called.
    aged: u64,
    held: Vec<Held<R>>,
    waiting: Vec<Waiting<C>>,
    /// Clients by the read that they wait for.
    reads: HashMap<Start, Vec<C>>,
    /// Number of clients in `reads`.
    readers: usize,
}

impl<C, R: Clone> Track<C, R> {
    pub(super) fn new(limits: TrackLimits) -> Track<C, R> {
        Track {
            limits,
            state: State::Unopened,
            position: None,
            is_blind: false,
            again: false,
            is_behind: false,
            tail: VecDeque::new(),
            tail_bytes: 0,
            is_whole: false,
            aged: 0,
            held: Vec::new(),
            waiting: Vec::new(),
            reads: HashMap::new(),
            readers: 0,
        }
    }

    /// Whether no client waits and no read is made.
    pub(super) fn is_quiet(&self) -> bool {
        !matches!(self.state, State::Reading) && self.waiting.is_empty() && self.reads.is_empty()
    }

    /// Whether clients may have missed messages of which they are not told, until the next read.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    pub(super) fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Number of clients that wait for a read.
    pub(super) fn pending(&self) -> usize {
        self.waiting.len() + self.readers
    }

    /// Drops what is kept: the next client that comes back is served by a read.
    pub(super) fn forget_tail(&mut self) {
        self.tail = VecDeque::new();
        self.tail_bytes = 0;
        self.is_whole = false;
    }

    /// Drops the messages that were there at the last call.
    pub(super) fn age(&mut self) {
        while self
            .tail
            .front()
            .is_some_and(|kept| kept.offset <= self.aged)
        {
            self.drop_first();
        }
        self.aged = self.position.map_or(0, |at| at.offset);
    }

    /// Gives the client back if it would have to wait for a read and must not.
    pub(super) fn subscribe(
        &mut self,
        client: C,
        start: Start,
        may_wait: bool,
        out: &mut impl Outlet<C, R>,
    ) -> Result<Option<Request>, C> {
        let start = match start {
            Start::Last(most) => Start::Last(most.min(self.limits.messages)),
            start => start,
        };
        match self.answer(start, false) {
            Answer::Kept(..) | Answer::Lost(_) => {}
            _ if may_wait => {}
            _ => return Err(client),
        }
        Ok(self.enter(client, start, false, out))
    }

    /// A message from the feed.
    pub(super) fn deliver(
        &mut self,
        position: Position,
        message: Kept<R>,
        out: &mut impl Outlet<C, R>,
    ) -> Option<Request> {
        if let State::Reading = self.state {
            self.held.push(Held::new(position, message));
            if self.held.len() > self.limits.messages {
                self.held.clear();
                self.again = true;
            }
            return None;
        }
        let before = Position {
            offset: position.offset.saturating_sub(1),
            ..position
        };
        // Clients without a position know that they may have lost something.
        let at = *self.position.get_or_insert(before);
        self.state = State::Live;
        match position.offset.checked_sub(at.offset) {
            _ if at.epoch != position.epoch => {}
            None | Some(0) => return None,
            Some(1) => {
                self.publish(message, out);
                return None;
            }
            Some(_) => {}
        }
        // A gap, or another epoch: the log says which one is the last.
        self.held.push(Held::new(position, message));
        Some(self.read_on(at))
    }

    /// Messages may be missing.
    pub(super) fn interrupted(&mut self) -> Option<Request> {
        match (self.state, self.position) {
            (State::Reading, _) => {
                self.again = true;
                None
            }
            (_, Some(position)) => Some(self.read_on(position)),
            (_, None) => self.is_blind.then(|| self.begin(Start::Now)),
        }
    }

    /// A read has ended.
    pub(super) fn read(
        &mut self,
        request: Request,
        found: Result<Found<R>, LogError>,
        out: &mut impl Outlet<C, R>,
    ) -> Vec<Request> {
        let clients = self.reads.remove(&request.start).unwrap_or_default();
        self.readers -= clients.len();
        let mut further = None;
        match found {
            Ok(Found::Recovered(entries, last)) => {
                further = self.absorb(&request, entries, last, clients, out);
            }
            Ok(Found::Lost(last)) => {
                let is_new = self.position.is_none_or(|at| at.epoch != last.epoch);
                if request.is_main || is_new {
                    let is_first = self.position.is_none() && !self.is_blind;
                    match is_first {
                        true => self.position = Some(last),
                        false => self.lose(last, out),
                    }
                }
                self.serve_lost(clients, out);
            }
            Err(_) => {
                self.is_behind |= request.is_main;
                match self.position {
                    // What is missing before them stays unknown until the next read.
                    Some(_) => self.held.clear(),
                    None => self.is_blind = true,
                }
                self.serve_lost(clients, out);
            }
        }
        match request.is_main {
            true => self.end_main(out),
            false => further.into_iter().collect(),
        }
    }
}

/// What a client gets that subscribes now.
enum Answer {
    /// The main read is made: it waits.
    Later,
    /// Its read is the first one.
    First,
    /// It has got a message that has not come here yet, by another machine. Or its position is made up. It waits for a main
    /// read from here.
    Ahead(Position),
    Lost(Position),
    /// The last ones of the tail.
    Kept(usize, Position),
    Read,
}

impl<C, R: Clone> Track<C, R> {
    fn begin(&mut self, start: Start) -> Request {
        self.state = State::Reading;
        self.is_behind = false;
        for waiting in &mut self.waiting {
            waiting.is_late = true;
        }
        for held in &mut self.held {
            held.is_before = true;
        }
        Request {
            start,
            is_main: true,
        }
    }

    fn read_on(&mut self, position: Position) -> Request {
        self.begin(Start::After(position))
    }

    fn answer(&self, start: Start, is_late: bool) -> Answer {
        let at = match (self.state, self.position) {
            (State::Reading, _) => return Answer::Later,
            (_, None) => return Answer::First,
            (_, Some(at)) => at,
        };
        let count = match start {
            Start::Now => Some(0),
            Start::Last(most) if self.is_whole => Some(most.min(self.tail.len())),
            Start::Last(most) => (most <= self.tail.len()).then_some(most),
            Start::After(seen) if seen.epoch != at.epoch => return Answer::Lost(at),
            Start::After(seen) if seen.offset > at.offset && !is_late => return Answer::Ahead(at),
            Start::After(seen) => {
                let missed = at.offset.checked_sub(seen.offset);
                let missed = missed.and_then(|missed| usize::try_from(missed).ok());
                let Some(missed) = missed.filter(|missed| *missed <= self.limits.messages) else {
                    return Answer::Lost(at);
                };
                (missed <= self.tail.len()).then_some(missed)
            }
        };
        count.map_or(Answer::Read, |count| Answer::Kept(count, at))
    }

    fn enter(
        &mut self,
        client: C,
        start: Start,
        is_late: bool,
        out: &mut impl Outlet<C, R>,
    ) -> Option<Request> {
        let answer = self.answer(start, is_late);
        match answer {
            Answer::Later | Answer::Ahead(_) => self.waiting.push(Waiting {
                client,
                start,
                is_late,
            }),
            Answer::Lost(at) => out.serve(client, None, Some(at)),
            Answer::Kept(count, at) => {
                let missed = self.tail.range(self.tail.len() - count..).collect();
                out.serve(client, Some(missed), Some(at));
            }
            Answer::First | Answer::Read => {
                self.readers += 1;
                self.reads.entry(start).or_default().push(client);
            }
        }
        match answer {
            Answer::First => Some(self.begin(start)),
            Answer::Ahead(at) => Some(self.read_on(at)),
            Answer::Read => (self.reads[&start].len() == 1).then_some(Request {
                start,
                is_main: false,
            }),
            _ => None,
        }
    }

    /// Sends the next message to all subscribers.
    fn publish(&mut self, message: Kept<R>, out: &mut impl Outlet<C, R>) {
        out.publish(&message);
        if let Some(at) = &mut self.position {
            at.offset = message.offset;
        }
        self.tail_bytes += message.bytes;
        self.tail.push_back(message);
        while self.tail.len() > self.limits.messages || self.tail_bytes > self.limits.tail_bytes {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let first = self.tail.pop_front();
        self.tail_bytes -= first.map_or(0, |first| first.bytes);
        self.is_whole = false;
    }

    fn lose(&mut self, position: Position, out: &mut impl Outlet<C, R>) {
        self.forget_tail();
        self.position = Some(position);
        out.lost(position);
    }

    fn serve_lost(&self, clients: Vec<C>, out: &mut impl Outlet<C, R>) {
        for client in clients {
            out.serve(client, None, self.position);
        }
    }

    fn end_main(&mut self, out: &mut impl Outlet<C, R>) -> Vec<Request> {
        let mut again = std::mem::take(&mut self.again);
        let held = std::mem::take(&mut self.held);
        self.state = match self.position {
            Some(_) => State::Live,
            None => State::Unopened,
        };
        self.is_blind &= self.position.is_none();
        let mut requests = Vec::new();
        if self.position.is_some() || self.is_blind {
            for held in held {
                let epoch = self.position.map_or(held.position.epoch, |at| at.epoch);
                match epoch == held.position.epoch {
                    true => requests.extend(self.deliver(held.position, held.message, out)),
                    false if held.is_before => {}
                    false => {
                        again = true;
                        self.held.push(held);
                    }
                }
            }
        }
        match (self.state, self.position) {
            (State::Live, Some(position)) if again => requests.push(self.read_on(position)),
            // The log fails: those that wait are subscribed at once.
            (State::Unopened, _) => {
                let waiting = std::mem::take(&mut self.waiting);
                self.is_blind |= !waiting.is_empty();
                self.serve_lost(
                    waiting.into_iter().map(|waiting| waiting.client).collect(),
                    out,
                );
                if again {
                    requests.extend(self.interrupted());
                }
            }
            _ => {}
        }
        if self.state == State::Live {
            for Waiting {
                client,
                start,
                is_late,
            } in std::mem::take(&mut self.waiting)
            {
                // If one of them makes a main read, the others have come before it.
                let is_late = is_late || self.state == State::Reading;
                requests.extend(self.enter(client, start, is_late, out));
            }
        }
        requests
    }
}

#[cfg(test)]
mod tests;
