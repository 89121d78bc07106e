//! Limit on connections of the whole server.

use super::address_limit::Addresses;
use crate::config::Config;
use crate::log::event;
use crate::metrics::WorkerCounters;
use crate::shared::id::Slot;
use crate::shared::quota::Share;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A shortage is over when no connection has met it for this time. Each shortage is logged once, however
/// many connections meet it.
pub(crate) const QUIET: Duration = Duration::from_secs(2);

/// Of all connections, how many idle ones are closed at a time to make room: a search for them looks
/// at all, and is worth the more the more it finds.
pub(crate) const SHARE: usize = 32;
pub(crate) const MOST_AT_A_TIME: usize = 256;

/// One place in so many is kept from connections that last.
const FOR_REQUESTS: usize = 8;

/// Shared by all threads that open or close connections.
pub(crate) struct ConnectionLimit {
    most: usize,
    open: AtomicUsize,
    pub(crate) addresses: Addresses,
    /// What connections may take of all places that last as long as the client wants: WebSockets and
    /// streams of events. The rest is kept for requests.
    pub(crate) lasting: Arc<Share>,
    /// An accepting thread waits for a connection to close.
    awaited: AtomicBool,
    begun: Instant,
    /// As many are open as may be, and there are more who wait.
    full: Episode,
    /// The system has no descriptors or no memory for a connection.
    exhausted: Episode,
    /// An address has as many as it may.
    crowded: Episode,
    /// Of threads that accept.
    pub(crate) counters: Arc<WorkerCounters>,
}

impl ConnectionLimit {
    pub(crate) fn new(config: &Config) -> ConnectionLimit {
        let most = config.connections.clamp(1, Slot::COUNT);
        ConnectionLimit {
            most,
            open: AtomicUsize::new(0),
            addresses: Addresses::new(config),
            lasting: Arc::new(Share::new(most - most / FOR_REQUESTS)),
            awaited: AtomicBool::new(false),
            begun: Instant::now(),
            full: Episode::default(),
            exhausted: Episode::default(),
            crowded: Episode::default(),
            counters: Arc::default(),
        }
    }

    /// Takes a place, if there is one: no more than one, as others would take those that are about to be
    /// given back for taken.
    pub(crate) fn take(&self) -> bool {
        let has_room = self.open.fetch_add(1, Ordering::AcqRel) < self.most;
        if !has_room {
            self.give_unused();
        }
        has_room
    }

    /// Takes places whether there are any or not, for those who have got in already.
    pub(crate) fn take_anyway(&self, n: usize) {
        self.open.fetch_add(n, Ordering::AcqRel);
    }

    /// Gives back a place that no connection has used. No thread is woken, because nothing becomes free.
    pub(crate) fn give_unused(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives a place back. True if somebody waits for that.
    ///
    /// One order for this and [`ConnectionLimit::wait`]: each writes what the other reads next, and one of
    /// them has to see it.
    #[must_use]
    pub(crate) fn give(&self) -> bool {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.is_awaited() && self.awaited.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.open.load(Ordering::SeqCst) < self.most
    }

    /// The next connection to close is waited for, unless [`ConnectionLimit::has_room`] now.
    pub(crate) fn wait(&self) {
        self.awaited.store(true, Ordering::SeqCst);
    }

    /// None has closed since [`ConnectionLimit::wait`].
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::SeqCst)
    }

    /// How many idle connections to close for those who wait.
    pub(crate) fn surplus(&self) -> usize {
        (self.open.load(Ordering::Acquire) / SHARE).clamp(1, MOST_AT_A_TIME)
    }

    /// As many are open as may be.
    pub(crate) fn tell_full(&self) {
        if self.full.meet(self.begun.elapsed()) {
            event!(
                Warn,
                "{} connections are open, the limit: idle ones are closed for new ones, and where none is \
                 idle, new ones are turned away",
                self.most
            );
        }
    }

    /// There is no descriptor or no memory for one more.
    pub(crate) fn tell_exhausted(&self, error: &io::Error) {
        if self.exhausted.meet(self.begun.elapsed()) {
            self.counters.accept_outages.add_shared(1);
            event!(Warn, "accepting pauses: {error}");
        }
    }

    /// The address of a new connection has as many as it may.
    pub(crate) fn tell_crowded(&self, peer: Option<SocketAddr>) {
        self.counters.turned_away_by_address.add_shared(1);
        if self.crowded.meet(self.begun.elapsed()) {
            let addr = peer.map_or_else(String::new, |peer| peer.ip().to_string());
            event!(
                Warn,
                "{addr} has as many connections as one address may, and gets no more: \
                 Config::connections_per_address, Config::trusted_proxies"
            );
        }
    }

    /// There is a shortage, whose end is to be told.
    pub(crate) fn is_short(&self) -> bool {
        self.full.is_on() || self.exhausted.is_on() || self.crowded.is_on()
    }

    /// Tells the end of what is over.
    pub(crate) fn tell_over(&self) {
        if self.is_short() {
            let now = self.begun.elapsed();
            if self.exhausted.is_over(now) {
                event!(Info, "accepting goes on");
            }
            if self.full.is_over(now) {
                event!(Info, "there is room for new connections again");
            }
            if self.crowded.is_over(now) {
                event!(
                    Info,
                    "no address has as many connections as it may any more"
                );
            }
        }
    }
}

/// A time in which something is met again and again.
#[derive(Default)]
struct Episode {
    /// When it was last met, in milliseconds and one more; 0 if it is over.
    last: AtomicU64,
}

impl Episode {
    /// True if it begins.
    fn meet(&self, now: Duration) -> bool {
        let now = now.as_millis() as u64 + 1;
        self.last.swap(now, Ordering::AcqRel) == 0
    }

    fn is_on(&self) -> bool {
        self.last.load(Ordering::Relaxed) > 0
    }

    /// True, once, if it has ended.
    fn is_over(&self, now: Duration) -> bool {
        let last = self.last.load(Ordering::Acquire);
        let quiet = (now.as_millis() as u64 + 1).saturating_sub(last);
        last > 0
            && quiet >= QUIET.as_millis() as u64
            && self
                .last
                .compare_exchange(last, 0, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(connections: usize) -> ConnectionLimit {
        ConnectionLimit::new(&Config {
            connections,
            ..Config::default()
        })
    }

    #[test]
    fn no_more_places_than_there_are() {
        let capacity = capacity(10);
        assert!((0..10).all(|_| capacity.take()));
        assert!(!capacity.take());
        assert!(!capacity.give(), "nobody waits");
        capacity.take_anyway(5);
        assert!(!capacity.take());
        capacity.wait();
        assert!(capacity.give(), "somebody waits");
        assert!(!capacity.give(), "and has been told");
    }

    #[test]
    fn threads_take_each_place_once() {
        let capacity = Arc::new(capacity(1000));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let capacity = capacity.clone();
                std::thread::spawn(move || (0..700).filter(|_| capacity.take()).count())
            })
            .collect();
        let taken = threads.into_iter().map(|t| t.join().expect("no panic"));
        assert_eq!(taken.sum::<usize>(), 1000);
    }

    #[test]
    fn an_episode_is_told_of_twice() {
        let episode = Episode::default();
        let at = |tenths| QUIET * tenths / 10;
        assert!(!episode.is_over(at(0)) && !episode.is_on());
        assert!(episode.meet(at(0)), "it begins");
        assert!(!episode.meet(at(5)) && !episode.meet(at(9)), "it goes on");
        assert!(!episode.is_over(at(18)));
        assert!(episode.is_over(at(19)), "it ends");
        assert!(!episode.is_over(at(30)), "once");
        assert!(episode.meet(at(40)), "another one");
    }

    #[test]
    fn room_is_made_for_a_share() {
        for (open, surplus) in [(1, 1), (63, 1), (64, 2), (100_000, 256)] {
            let capacity = capacity(100_000);
            capacity.take_anyway(open);
            assert_eq!(capacity.surplus(), surplus);
        }
    }
}
