//! Limits on how many requests a client makes.

use super::{Layer, Next};
use crate::http::handler_error::Problem;
use crate::http::request::Request;
use crate::http::request_body::Respond;
use crate::http::response::{Done, Response};
use crate::runtime::address_limit::AddressGroup;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Clients by default.
const CLIENTS: usize = 65_536;

/// Places of clients that share a lock. A client has a place in one of the sets.
const PLACES: usize = 8;

type Key = Box<dyn Fn(&Request<'_>) -> Option<Vec<u8>> + Send + Sync>;

/// Limits the requests of each client. Above the limit they get 429 with `Retry-After`.
///
/// A client is an IPv4 address, or an IPv6 network of 64 bits, of [`Request::client_addr`], or what [`RateLimit::key`] says. It
/// may make `requests` requests at once; then it gets them back evenly, in the course of `per` (GCRA). Requests without an
/// address, over Unix sockets, are not limited.
///
/// Memory is bounded: at most [`RateLimit::clients`] clients are remembered, 16 bytes each, which are allocated at once. Above
/// it the client that has used least of its limit is forgotten, among 8 that share a place. So many clients at the same time
/// may make more requests than they should, and never fewer.
///
/// A request with a body that is above the limit is refused before its body is read. It counts when its body is there, so
/// **uploads that a client never finishes do not count**: limits on connections and on time apply to them. A WebSocket handshake
/// counts once, and once more if the handler or a later layer does not accept it.
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::RateLimit;
/// use peregrine::testing::Client;
/// use std::time::Duration;
///
/// // Three attempts at once, and one more each 20 minutes.
/// let attempts = RateLimit::new(3, Duration::from_secs(3600));
/// let app = Router::new().post("/login", |_, res| res.status(401).text("no")).layer(attempts);
/// let mut client = Client::new(&app);
/// let statuses: Vec<u16> = (0..4).map(|_| client.post("/login").send().status()).collect();
/// assert_eq!(statuses, [401, 401, 401, 429]);
/// ```
#[doc(alias("throttle", "governor", "GCRA"))]
pub struct RateLimit {
    /// From one request to the next, in nanoseconds.
    interval: u64,
    /// So much of it may be used at once, in nanoseconds.
    per: u64,
    key: Key,
    random: RandomState,
    begun: Instant,
    sets: Box<[Mutex<Set>]>,
}

/// Each place has the hash of a client, and the time at which it has its whole limit again, in nanoseconds.
type Set = [(u64, u64); PLACES];

impl RateLimit {
    /// Each client may make so many requests in this time. 0 requests: none at all.
    pub fn new(requests: u32, per: Duration) -> RateLimit {
        let per = u64::try_from(per.as_nanos()).map_or(u64::MAX / 2, |per| per.min(u64::MAX / 2));
        // A request that takes more than all of it never passes.
        let interval = per
            .checked_div(u64::from(requests))
            .unwrap_or(per.saturating_add(1));
        RateLimit {
            interval,
            per,
            key: Box::new(address),
            random: RandomState::new(),
            begun: Instant::now(),
            sets: sets(CLIENTS),
        }
    }

    /// Sets what a client is: requests with the same key share a limit. `None` is not limited.
    ///
    /// ```
    /// use peregrine::layers::RateLimit;
    /// use std::time::Duration;
    ///
    /// // By token, as of an API. A layer around this one should have checked it.
    /// let limit = RateLimit::new(100, Duration::from_secs(60))
    ///     .key(|req| req.bearer_token().map(|token| token.as_bytes().to_vec()));
    /// ```
    #[must_use]
    pub fn key(
        mut self,
        key: impl Fn(&Request<'_>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> RateLimit {
        self.key = Box::new(key);
        self
    }

    /// Sets how many clients are remembered, rounded up to a multiple of 8. Default: 65,536.
    #[must_use]
    pub fn clients(mut self, clients: usize) -> RateLimit {
        self.sets = sets(clients);
        self
    }

    /// Whether a request of this client passes at this time; if not, when the next one does. It counts if `counts`.
    fn take(&self, client: u64, now: u64, counts: bool) -> Result<(), Duration> {
        let mut set = self.set(client);
        let own = set.iter().position(|place| place.0 == client);
        // The one that has least to remember.
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

    fn ask(&self, req: &Request<'_>, counts: bool) -> Option<Respond> {
        let client = self.random.hash_one((self.key)(req)?);
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wait = self.take(client, now, counts).err()?;
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Some(Box::new(move |req, res| {
            let res = res.header("Retry-After", seconds.to_string());
            Problem::new(429).respond_to(req, res)
        }))
    }
}

fn sets(clients: usize) -> Box<[Mutex<Set>]> {
    let count = clients.div_ceil(PLACES).max(1);
    (0..count).map(|_| Mutex::default()).collect()
}

fn address(req: &Request<'_>) -> Option<Vec<u8>> {
    let addr = req.client_addr()?.ip();
    Some(AddressGroup::from(addr).to_bytes())
}

impl Layer for RateLimit {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        match self.ask(req, true) {
            Some(respond) => respond(req, res),
            None => next.run(req, res),
        }
    }

    fn refuse(&self, req: &Request<'_>) -> Option<Respond> {
        // A request with a body counts when that is there. A WebSocket handshake has none.
        #[cfg(feature = "websocket")]
        let counts = !req.has_body();
        #[cfg(not(feature = "websocket"))]
        let counts = false;
        self.ask(req, counts)
    }
}

impl std::fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimit")
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
        let limit = RateLimit::new(4, Duration::from_secs(8));
        let passes = |client, at| limit.take(client, at, true).is_ok();
        assert!((0..4).all(|_| passes(1, 0)));
        assert_eq!(limit.take(1, 0, true), Err(Duration::from_secs(2)));
        assert_eq!(
            limit.take(1, SECOND / 2, true),
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
        let limit = RateLimit::new(1, Duration::from_secs(1));
        assert!((0..10).all(|_| limit.take(1, 0, false).is_ok()));
        assert!(limit.take(1, 0, true).is_ok());
        assert!((0..10).all(|_| limit.take(1, 0, false).is_err()));
    }

    #[test]
    fn the_extremes() {
        let none = RateLimit::new(0, Duration::from_secs(1));
        assert!(none.take(1, 0, true).is_err());
        let any = RateLimit::new(u32::MAX, Duration::ZERO);
        assert!((0..1000).all(|_| any.take(1, 0, true).is_ok()));
        let long = RateLimit::new(1, Duration::MAX);
        assert!(
            long.take(1, u64::MAX / 4, true).is_ok() && long.take(1, u64::MAX / 4, true).is_err()
        );
        for per in [Duration::MAX, Duration::from_nanos(u64::MAX)] {
            let no_requests = RateLimit::new(0, per);
            assert!(no_requests.take(1, 0, true).is_err());
        }
    }

    #[test]
    fn the_clients_that_are_remembered_are_bounded() {
        let limit = RateLimit::new(2, Duration::from_secs(2)).clients(8);
        assert_eq!(limit.sets.len(), 1);
        // One client has used all, and seven a half.
        assert!(limit.take(1, 0, true).is_ok() && limit.take(1, 0, true).is_ok());
        for client in 2..=8 {
            assert!(limit.take(client, 0, true).is_ok());
        }
        // A ninth one takes the place of one of the seven.
        assert!(limit.take(9, 0, true).is_ok());
        assert!(limit.take(1, 0, true).is_err());
        let forgotten =
            (2..=8).filter(|client| limit.set(0).iter().all(|place| place.0 != *client));
        assert_eq!(forgotten.count(), 1);
        assert_eq!(RateLimit::new(1, Duration::ZERO).clients(0).sets.len(), 1);
        assert_eq!(RateLimit::new(1, Duration::ZERO).clients(17).sets.len(), 3);
    }
}
