//! Limit on connections of the whole server.

use super::address_limit::Addresses;
use super::address_rate::AddressRates;
use crate::config::Config;
use crate::log::event;
use crate::metrics::WorkerCounters;
use crate::shared::id::Slot;
use crate::shared::quota::Share;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A shortage is over when no connection has met it for this time. A shortage is logged once, not for each
/// connection.
pub(crate) const QUIET: Duration = Duration::from_secs(2);

/// The share of all connections that is closed at a time to make room, if so many are idle. A search looks at
/// all connections, so it has to find several.
pub(crate) const SHARE: usize = 32;
pub(crate) const MOST_AT_A_TIME: usize = 256;

/// One place in this number is for clients who have shown that their address is theirs, if they come over UDP.
#[cfg(feature = "http3")]
const FOR_KNOWN: usize = 8;

/// One place in this number is not given to long-lived connections.
const FOR_REQUESTS: usize = 8;

/// A wait for a connection to close.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait(u64);

/// Shared by all threads that open or close connections.
pub(crate) struct ConnectionLimit {
    most: usize,
    open: AtomicUsize,
    pub(crate) addresses: Addresses,
    /// How often an address may connect.
    connects: Option<AddressRates>,
    /// How many requests an address may make.
    pub(crate) requests: Option<Arc<AddressRates>>,
    /// The places for connections that last as long as the client wants: WebSockets and streams of events.
    /// The rest is kept for requests.
    pub(crate) lasting: Arc<Share>,
    /// Odd: an accepting thread waits for a connection to close. The close makes it the next number, which is even.
    waits: AtomicU64,
    begun: Instant,
    /// All places are taken, and new connections wait.
    full: Episode,
    /// The system has no descriptor or no memory for a new connection.
    exhausted: Episode,
    /// An address has reached its limit.
    crowded: Episode,
    /// An address connects too often.
    hurried: Episode,
    /// Connections to an address of `Server::proxy_protocol` are of others than trusted proxies.
    untrusted: Episode,
    /// How many of these five are on.
    shortages: AtomicUsize,
    /// Wakes the threads that accept.
    pub(crate) counters: Arc<WorkerCounters>,
}

impl ConnectionLimit {
    pub(crate) fn new(config: &Config) -> ConnectionLimit {
        let most = config.connections.min(Slot::COUNT);
        ConnectionLimit {
            most,
            open: AtomicUsize::new(0),
            addresses: Addresses::new(config),
            connects: AddressRates::of(config.connection_rate, config),
            requests: AddressRates::of(config.request_rate, config).map(Arc::new),
            lasting: Arc::new(Share::new(most - most / FOR_REQUESTS)),
            waits: AtomicU64::new(0),
            begun: Instant::now(),
            full: Episode::new("there is room for new connections again"),
            exhausted: Episode::new("accepting goes on"),
            crowded: Episode::new("no address is at its connection limit any more"),
            hurried: Episode::new("no address connects too often any more"),
            untrusted: Episode::new(
                "all connections to addresses of Server::proxy_protocol come from Config::trusted_proxies again",
            ),
            shortages: AtomicUsize::new(0),
            counters: Arc::default(),
        }
    }

    /// Takes a place if one is free. The count never exceeds the limit, not even for a moment, because other
    /// threads would see a place as taken that is not.
    pub(crate) fn take(&self) -> bool {
        let has_room = self.open.fetch_add(1, Ordering::AcqRel) < self.most;
        if !has_room {
            self.give_unused();
        }
        has_room
    }

    /// Takes places for connections that are open already, even above the limit.
    pub(crate) fn take_anyway(&self, n: usize) {
        self.open.fetch_add(n, Ordering::AcqRel);
    }

    /// Gives back a place that no connection has used. No thread is woken, because nothing becomes free.
    pub(crate) fn give_unused(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives a place back. True if a thread waits for it.
    ///
    /// One order for this and [`ConnectionLimit::wait`]: each writes what the other reads next, and one of
    /// them has to see it.
    #[must_use]
    pub(crate) fn give(&self) -> bool {
        self.open.fetch_sub(1, Ordering::SeqCst);
        let waits = self.waits.load(Ordering::SeqCst);
        is_odd(waits)
            && self
                .waits
                .compare_exchange(waits, waits + 1, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.open.load(Ordering::SeqCst) < self.most
    }

    /// Whether places are left for clients of whose addresses nothing is known.
    #[cfg(feature = "http3")]
    pub(crate) fn has_much_room(&self) -> bool {
        self.open.load(Ordering::Relaxed) < self.most - self.most / FOR_KNOWN
    }

    /// A thread waits for the next connection that closes, unless [`ConnectionLimit::has_room`] now.
    pub(crate) fn wait(&self) -> Wait {
        Wait(self.waits.fetch_or(1, Ordering::SeqCst) | 1)
    }

    /// A thread waits, and no connection has closed since.
    pub(crate) fn is_awaited(&self) -> bool {
        is_odd(self.waits.load(Ordering::SeqCst))
    }

    /// No connection has closed since this [`ConnectionLimit::wait`], of whichever thread.
    pub(crate) fn is_vain(&self, wait: Wait) -> bool {
        self.waits.load(Ordering::SeqCst) == wait.0
    }

    /// How many idle connections to close to make room.
    pub(crate) fn surplus(&self) -> usize {
        (self.open.load(Ordering::Acquire) / SHARE).clamp(1, MOST_AT_A_TIME)
    }

    /// As many are open as may be.
    pub(crate) fn tell_full(&self) {
        if self.meet(&self.full) {
            event!(
                Warn,
                "{} connections are open, the limit: idle ones are closed for new ones, and where none is \
                 idle, new ones are turned away",
                self.most
            );
        }
    }

    /// There is no descriptor or no memory for one more connection.
    pub(crate) fn tell_exhausted(&self, error: &io::Error) {
        if self.meet(&self.exhausted) {
            self.counters.accept_outages.add_shared(1);
            event!(Warn, "accepting pauses: {error}");
        }
    }

    /// The address of a new connection has reached its limit.
    pub(crate) fn tell_crowded(&self, peer: Option<SocketAddr>) {
        self.counters.turned_away_by_address.add_shared(1);
        if self.meet(&self.crowded) {
            let addr = ip_text(peer);
            event!(
                Warn,
                "{addr} has as many connections as one address may, and gets no more: \
                 Config::connections_per_address, Config::trusted_proxies"
            );
        }
    }

    /// Whether one more new connection of this address may come. If not, it is counted.
    pub(crate) fn may_connect(&self, peer: Option<SocketAddr>) -> bool {
        let connects = self.connects.as_ref();
        let may = connects.is_none_or(|connects| connects.take(peer).is_ok());
        if !may {
            self.tell_hurried(peer);
        }
        may
    }

    #[cold]
    fn tell_hurried(&self, peer: Option<SocketAddr>) {
        self.counters.turned_away.add_shared(1);
        self.counters.turned_away_by_rate.add_shared(1);
        if self.meet(&self.hurried) {
            let addr = ip_text(peer);
            event!(
                Warn,
                "{addr} connects more often than one address may, and is turned away: \
                 Config::connection_rate, Config::trusted_proxies"
            );
        }
    }

    /// A connection to an address of `Server::proxy_protocol` does not come from a trusted proxy. Usually the settings of the
    /// server or of the balancer are wrong.
    #[cold]
    pub(crate) fn tell_untrusted(&self, peer: Option<SocketAddr>) {
        if self.meet(&self.untrusted) {
            let addr = ip_text(peer);
            event!(
                Warn,
                "a connection from {addr} to an address of Server::proxy_protocol is closed: it is not of \
                 Config::trusted_proxies, or the balancer keeps the address of its client for the connection"
            );
        }
    }

    fn episodes(&self) -> [&Episode; 5] {
        [
            &self.exhausted,
            &self.full,
            &self.crowded,
            &self.hurried,
            &self.untrusted,
        ]
    }

    /// Notes that a limit is met. True if a shortage begins.
    fn meet(&self, episode: &Episode) -> bool {
        let begins = episode.meet(self.begun.elapsed());
        if begins {
            self.shortages.fetch_add(1, Ordering::Relaxed);
        }
        begins
    }

    /// There is a shortage. Its end has to be logged. Each turn of a thread asks, so it is one number.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.shortages.load(Ordering::Relaxed) != 0
    }

    /// Logs the end of each shortage that is over.
    pub(crate) fn tell_over(&self) {
        for episode in self.episodes() {
            if episode.is_on() && episode.is_over(self.begun.elapsed()) {
                // Below zero for a moment, if its beginning is not counted yet.
                self.shortages.fetch_sub(1, Ordering::Relaxed);
                event!(Info, "{}", episode.end);
            }
        }
    }
}

fn is_odd(n: u64) -> bool {
    n % 2 == 1
}

/// The address of a client for the log.
pub(crate) fn ip_text(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "a Unix socket".into(), |peer| peer.ip().to_string())
}

/// A period in which a limit is met again and again.
struct Episode {
    /// What the log says when it is over.
    end: &'static str,
    /// When it was last met, in milliseconds and one more; 0 if it is over.
    last: AtomicU64,
}

impl Episode {
    fn new(end: &'static str) -> Episode {
        let last = AtomicU64::new(0);
        Episode { end, last }
    }

    /// Notes that the limit is met. True if the period begins.
    fn meet(&self, now: Duration) -> bool {
        let now = now.as_millis() as u64 + 1;
        self.last.swap(now, Ordering::AcqRel) == 0
    }

    fn is_on(&self) -> bool {
        self.last.load(Ordering::Relaxed) > 0
    }

    /// True if the period has ended, once for each period.
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
        ConnectionLimit::new(&Config::default().connections(connections))
    }

    #[test]
    fn no_more_places_are_given_than_exist() {
        let capacity = capacity(10);
        assert!((0..10).all(|_| capacity.take()));
        assert!(!capacity.take());
        assert!(!capacity.give(), "no thread waits");
        capacity.take_anyway(5);
        assert!(!capacity.take());
        capacity.wait();
        assert!(capacity.give(), "a thread waits");
        assert!(!capacity.give(), "the thread was woken already");
    }

    /// Each thread sees that a place was free after it began to wait, even if another one has taken the place.
    #[test]
    fn a_wait_is_vain_until_the_next_close() {
        let capacity = capacity(2);
        capacity.take_anyway(2);
        let (one, other) = (capacity.wait(), capacity.wait());
        assert!(capacity.is_vain(one) && capacity.is_vain(other));
        assert!(capacity.give() && capacity.take());
        let next = capacity.wait();
        assert!(!capacity.is_vain(one) && !capacity.is_vain(other));
        assert!(capacity.is_vain(next));
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
    fn the_begin_and_the_end_of_a_shortage_are_logged() {
        let episode = Episode::new("");
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
    fn idle_connections_are_closed_by_a_share_of_the_limit() {
        for (open, surplus) in [(1, 1), (63, 1), (64, 2), (100_000, 256)] {
            let capacity = capacity(100_000);
            capacity.take_anyway(open);
            assert_eq!(capacity.surplus(), surplus);
        }
    }
}
