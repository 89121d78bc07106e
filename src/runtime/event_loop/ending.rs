//! The end of a connection: closed, handed over, or lost by a panic.

use super::{Driven, Driver, Ended, EventLoop, Fate, ThreadState};
use crate::log::event;
use crate::runtime::clock;
use crate::runtime::poll::Poll;
use crate::runtime::socket::Ends;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::{Panic, catch};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A stop of a loop.
pub(super) struct Stop {
    begun: Instant,
    /// When connections that are still open are closed.
    at: Instant,
    drained: u64,
    /// In which time the connections are told.
    spread: Duration,
    /// Connections that are not told yet, and how many there were.
    waiting: VecDeque<ConnId>,
    count: usize,
}

/// The longest wait between two connections that are told. Shorter times tell several at once.
const STEP: Duration = Duration::from_millis(20);

impl Stop {
    fn begin(timeout: Duration, spread: Duration) -> Stop {
        Stop {
            begun: Instant::now(),
            at: clock::after(timeout.saturating_add(spread)),
            drained: 0,
            spread,
            waiting: VecDeque::new(),
            count: 0,
        }
    }

    /// The next connection, if its time has come.
    fn next(&mut self) -> Option<ConnId> {
        let told = self.count - self.waiting.len();
        match told < due(self.begun.elapsed(), self.spread, self.count) {
            true => self.waiting.pop_front(),
            false => None,
        }
    }

    /// The time until something is due.
    pub(super) fn timeout(&self) -> Duration {
        let left = self.at.saturating_duration_since(Instant::now());
        match self.waiting.is_empty() {
            true => left,
            false => left.min(STEP),
        }
    }
}

/// How many of `count` connections are to be told after this time.
fn due(passed: Duration, spread: Duration, count: usize) -> usize {
    if passed >= spread {
        return count;
    }
    let due = passed.as_nanos().saturating_mul(count as u128) / spread.as_nanos();
    (due as usize).saturating_add(1).min(count)
}

/// When a connection is told of a drain, in the unit of [`Phase::drained`](crate::runtime::phase::Phase::drained). `random` is
/// of the thread, so that servers that drain together do not tell their clients at the same moments.
fn moment(id: ConnId, random: &RandomState) -> u32 {
    (random.hash_one(id) >> 56) as u32
}

impl<D: Driver> EventLoop<'_, D> {
    pub(crate) fn close(&mut self, id: ConnId, close: impl FnOnce(D::Connection, &mut D::State)) {
        let Some(mut connection) = self.slab.remove(id) else {
            return;
        };
        if Poll::must_remove() {
            connection.link().unwatch(&self.poll);
        }
        let counted = connection.link().socket.counted_addr();
        let shared = self.driver.shared();
        shared.begin(id);
        connection.link().charge(0, shared.tally());
        if let Err(panic) = catch(|| close(connection, shared)) {
            self.recover(&panic);
        }
        self.ended(counted);
        // The last hook may have published messages.
        D::acted(self);
    }

    /// The connection is gone, and its place is free.
    pub(crate) fn ended(&mut self, counted: Option<SocketAddr>) {
        self.driver.ended(self.control);
        self.driver.shared().counters().closed.add(1);
        self.control.give_back(counted);
        if let Some(stop) = &mut self.stop {
            stop.drained += 1;
        }
    }

    /// A panic has ended the turn of a connection.
    #[cold]
    pub(crate) fn lose(&mut self, id: ConnId, panic: &Panic) {
        self.recover(panic);
        self.close(id, |connection, shared| {
            connection.abandon(panic, shared);
        });
        #[cfg(test)]
        self.driver.lost(&mut self.slab);
    }

    #[cold]
    pub(crate) fn recover(&mut self, panic: &Panic) {
        let (connection, message) = (D::CONNECTION, panic.message());
        event!(Error, "{connection} ended in a panic: {message}");
        self.driver.recover();
    }

    /// The server does not simply serve any more: drains, begins the stop, or checks whether the stop is complete.
    #[cold]
    #[inline(never)]
    pub(super) fn leave(&mut self) -> io::Result<Option<Ended>> {
        match self.control.is_stopping() {
            true => self.stopping(),
            false => {
                self.retire()?;
                Ok(None)
            }
        }
    }

    /// Once a second: tells the connections whose moment has come that the server drains, each of them once. The moments are
    /// spread over the delay, so that their clients do not all come back at once.
    fn retire(&mut self) -> io::Result<()> {
        let now = self.clock.seconds();
        if std::mem::replace(&mut self.retired, now) == now {
            return Ok(());
        }
        let drained = self.control.phase.drained();
        let mut due = std::mem::take(&mut self.due);
        let random = &self.random;
        let is_due = |id, of: &D::Connection| of.may_retire() && moment(id, random) < drained;
        self.slab.append_if(is_due, &mut due);
        for id in due.drain(..) {
            self.act(id, D::Connection::retire);
        }
        self.due = due;
        let random = self.random.clone();
        D::retire(self, &|id| moment(id, &random) < drained)
    }

    /// Tells the connections that do not last that the server stops. The others wait for their time; until then they take
    /// no new requests.
    fn tell_first(&mut self) {
        let spread = D::spread(self.config);
        let waits = |of: &D::Connection| !spread.is_zero() && of.lasts();
        let (mut first, mut waiting) = (Vec::new(), Vec::new());
        self.slab.append_if(|_, of| !waits(of), &mut first);
        self.slab.append_if(|_, of| waits(of), &mut waiting);
        for id in first {
            self.act(id, D::Connection::stop);
        }
        for &id in &waiting {
            self.act(id, |connection, shared| match connection.may_retire() {
                true => connection.retire(shared),
                false => Fate::Open,
            });
        }
        if let Some(stop) = &mut self.stop {
            stop.count = waiting.len();
            stop.waiting = waiting.into();
        }
    }

    /// Tells connections whose time has come that the server stops. Those that have ended meanwhile are no more.
    fn tell_next(&mut self) {
        while let Some(id) = self.stop.as_mut().and_then(Stop::next) {
            self.act(id, D::Connection::stop);
        }
    }

    /// Begins the stop, or checks whether it is complete.
    fn stopping(&mut self) -> io::Result<Option<Ended>> {
        if self.stop.is_none() {
            let connections = self.slab.len();
            event!(Info, { connections: connections }, "{} stops", D::THREAD);
            self.stop = Some(Stop::begin(
                self.config.stop_timeout,
                D::spread(self.config),
            ));
            D::stop(self)?;
            self.tell_first();
            self.tell_next();
            self.open_arrivals();
        } else {
            self.tell_next();
        }
        let Some(stop) = &self.stop else {
            return Ok(None);
        };
        // The order matters: a thread hands its connections over before it reports that it has finished.
        let is_over =
            D::has_all(self.control) && self.driver.arrivals().is_empty() && self.slab.is_empty();
        let is_over = is_over && self.driver.has_ended();
        let is_late = self.control.is_cutting() || Instant::now() >= stop.at;
        if !is_over && !is_late {
            return Ok(None);
        }
        let (drained, cut) = (stop.drained, self.slab.len() as u64);
        self.driver.cut();
        for id in self.slab.tokens() {
            self.close(id, D::Connection::close);
        }
        let others = D::finish(self);
        Ok(Some(Ended {
            drained: drained + others.drained,
            cut: cut + others.cut,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::id::Slot;

    #[test]
    fn connections_are_told_evenly() {
        let of = |passed, spread, count| {
            due(
                Duration::from_millis(passed),
                Duration::from_millis(spread),
                count,
            )
        };
        assert_eq!([of(0, 0, 5), of(0, 1000, 0), of(5000, 1000, 7)], [5, 0, 7]);
        assert_eq!([of(0, 1000, 1000), of(1, 1000, 1000)], [1, 2]);
        assert_eq!([of(500, 1000, 1000), of(999, 1000, 1000)], [501, 1000]);
        let longest = due(Duration::from_secs(1), Duration::MAX, 1 << 24);
        assert_eq!(longest, 1);
    }

    #[test]
    fn moments_are_spread() {
        let of = |random: &RandomState| -> Vec<u32> {
            let ids = (0..2560).map(|n| ConnId::new(Slot::new(n), 0));
            ids.map(|id| moment(id, random)).collect()
        };
        let random = RandomState::new();
        let mut counts = [0; 4];
        for moment in of(&random) {
            counts[moment as usize / 64] += 1;
        }
        assert!(
            counts.iter().all(|count| (500..800).contains(count)),
            "{counts:?}"
        );
        assert_eq!(of(&random), of(&random));
        assert_ne!(of(&random), of(&RandomState::new()), "of each thread");
    }
}
