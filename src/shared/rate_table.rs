//! Rates of many clients in a fixed amount of memory.
//!
//! Each client may do something a number of times at once, and gets this back evenly in the course of a time (GCRA). A
//! client is known by a hash with a key of its own for each table.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are remembered by default.
pub(crate) const CLIENTS: usize = 65_536;

/// Places of clients that share a lock. A client has a place in one of the sets.
const PLACES: usize = 8;

pub(crate) struct RateTable {
    /// From one time to the next, in nanoseconds.
    interval: u64,
    /// So much of it may be used at once, in nanoseconds.
    per: u64,
    random: RandomState,
    begun: Instant,
    sets: Box<[Mutex<Set>]>,
}

/// Each place has the hash of a client, and the time at which it has its whole limit again, in nanoseconds.
type Set = [(u64, u64); PLACES];

impl RateTable {
    /// Each client may do it `count` times in this time. 0: never.
    pub(crate) fn new(count: u32, per: Duration) -> RateTable {
        let per = u64::try_from(per.as_nanos()).map_or(u64::MAX / 2, |per| per.min(u64::MAX / 2));
        // What takes more than all of it never passes.
        let interval = per
            .checked_div(u64::from(count))
            .unwrap_or(per.saturating_add(1));
        RateTable {
            interval,
            per,
            random: RandomState::new(),
            begun: Instant::now(),
            sets: sets(CLIENTS),
        }
    }

    /// Sets how many clients are remembered, rounded up to a multiple of [`PLACES`]. Above it, the client that has its
    /// whole limit again first is forgotten, among those that share a set.
    pub(crate) fn remember(&mut self, clients: usize) {
        self.sets = sets(clients);
    }

    /// Whether this client may do it now; if not, how long it has to wait. It counts if `counts`.
    pub(crate) fn take(&self, client: impl Hash, counts: bool) -> Result<(), Duration> {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.take_at(self.random.hash_one(client), now, counts)
    }

    fn take_at(&self, client: u64, now: u64, counts: bool) -> Result<(), Duration> {
        let mut set = self.set(client);
        let own = set.iter().position(|place| place.0 == client);
        // The one that has its whole limit again first.
        let least = || (0..PLACES).min_by_key(|at| set[*at].1);
        let at = own.or_else(least).unwrap_or(0);
        let used = own.map_or(0, |at| set[at].1);
        let whole = used.max(now).saturating_add(self.interval);
        let most = now.saturating_add(self.per);
        if whole > most {
            return Err(Duration::from_nanos(whole - most));
        }
        if counts {
            set[at] = (client, whole);
        }
        Ok(())
    }

    fn set(&self, client: u64) -> MutexGuard<'_, Set> {
        let at = client as usize % self.sets.len();
        // No call leaves it half changed.
        self.sets[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait in whole seconds, as `Retry-After` has it.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn sets(clients: usize) -> Box<[Mutex<Set>]> {
    let count = clients.div_ceil(PLACES).max(1);
    (0..count).map(|_| Mutex::default()).collect()
}

impl std::fmt::Debug for RateTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateTable")
            .field("interval", &Duration::from_nanos(self.interval))
            .field("per", &Duration::from_nanos(self.per))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_client_has_its_limit_at_once_and_gets_it_back_evenly() {
        let limit = RateTable::new(4, Duration::from_secs(8));
        let passes = |client, at| limit.take_at(client, at, true).is_ok();
        assert!((0..4).all(|_| passes(1, 0)));
        assert_eq!(limit.take_at(1, 0, true), Err(Duration::from_secs(2)));
        assert_eq!(
            limit.take_at(1, SECOND / 2, true),
            Err(Duration::from_millis(1500))
        );
        // A refused request costs nothing.
        assert!(passes(1, 2 * SECOND) && !passes(1, 2 * SECOND));
        // Another client, and the same one after a long time.
        assert!(passes(2, 2 * SECOND));
        assert!((0..4).all(|_| passes(1, 100 * SECOND)) && !passes(1, 100 * SECOND));
    }

    #[test]
    fn a_question_counts_nothing() {
        let limit = RateTable::new(1, Duration::from_secs(1));
        assert!((0..10).all(|_| limit.take_at(1, 0, false).is_ok()));
        assert!(limit.take_at(1, 0, true).is_ok());
        assert!((0..10).all(|_| limit.take_at(1, 0, false).is_err()));
    }

    #[test]
    fn the_extremes() {
        let none = RateTable::new(0, Duration::from_secs(1));
        assert!(none.take_at(1, 0, true).is_err());
        let any = RateTable::new(u32::MAX, Duration::ZERO);
        assert!((0..1000).all(|_| any.take_at(1, 0, true).is_ok()));
        let long = RateTable::new(1, Duration::MAX);
        assert!(
            long.take_at(1, u64::MAX / 4, true).is_ok()
                && long.take_at(1, u64::MAX / 4, true).is_err()
        );
        for per in [Duration::MAX, Duration::from_nanos(u64::MAX)] {
            let no_requests = RateTable::new(0, per);
            assert!(no_requests.take_at(1, 0, true).is_err());
        }
    }

    #[test]
    fn the_clients_that_are_remembered_are_bounded() {
        let mut limit = RateTable::new(2, Duration::from_secs(2));
        limit.remember(8);
        assert_eq!(limit.sets.len(), 1);
        // One client has used all, and seven a half.
        assert!(limit.take_at(1, 0, true).is_ok() && limit.take_at(1, 0, true).is_ok());
        for client in 2..=8 {
            assert!(limit.take_at(client, 0, true).is_ok());
        }
        // A ninth one takes the place of one of the seven.
        assert!(limit.take_at(9, 0, true).is_ok());
        assert!(limit.take_at(1, 0, true).is_err());
        let forgotten =
            (2..=8).filter(|client| limit.set(0).iter().all(|place| place.0 != *client));
        assert_eq!(forgotten.count(), 1);
        assert_eq!([0, 17].map(|clients| sets(clients).len()), [1, 3]);
    }
}
