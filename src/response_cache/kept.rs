//! One response that is kept.

use super::key;
use super::rules::Lifetime;
use crate::http::request::Request;
use crate::http::response::prepared::PreparedResponse;
use std::sync::Arc;
use std::time::Duration;

/// A response that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) response: PreparedResponse,
    /// What the fields that `Vary` names had as values, in the form of a key.
    vary: (Arc<[String]>, Vec<u8>),
    /// When the call of the handler has begun.
    began: Duration,
    /// When it came, and other times: since the cache was made. Those that each hit reads are in nanoseconds.
    born: u64,
    /// Its age when it came.
    age: u64,
    /// Until then it is sent in any case.
    fresh: u64,
    /// Until then it is sent while another request computes the next one.
    end: Duration,
}

impl Kept {
    /// `began`: when the call of the handler has begun that has made it.
    pub(super) fn new(
        response: PreparedResponse,
        life: &Lifetime,
        began: Duration,
        now: Duration,
    ) -> Kept {
        let fresh = now.saturating_add(life.fresh - life.age);
        Kept {
            response,
            vary: (Arc::new([]), Vec::new()),
            began,
            born: nanos(now),
            age: nanos(life.age),
            fresh: nanos(fresh),
            end: fresh.saturating_add(life.stale),
        }
    }

    /// Whether the call of the handler that has made it has begun after that of `other`.
    pub(super) fn is_newer_than(&self, other: &Kept) -> bool {
        self.began > other.began
    }

    /// Whole seconds since it was made.
    #[inline]
    pub(super) fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.born).saturating_add(self.age) / 1_000_000_000
    }

    #[inline]
    pub(super) fn is_fresh(&self, now: u64) -> bool {
        now < self.fresh
    }

    /// Whether the fields that `Vary` names have the same values in this request (RFC 9111 section 4.1).
    pub(super) fn is_for(&self, req: &Request<'_>) -> bool {
        let mut values = Vec::new();
        key::vary(&self.vary.0, req, &mut values);
        values == self.vary.1
    }

    /// Whether it may be sent while another request computes the next one.
    pub(super) fn is_sendable(&self, now: Duration) -> bool {
        now < self.end
    }

    /// The request fields on which it depends.
    pub(super) fn names(&self) -> &Arc<[String]> {
        &self.vary.0
    }

    /// It depends on these fields of the request that has caused it.
    pub(super) fn set_vary(&mut self, names: Arc<[String]>, req: &Request<'_>) {
        let mut values = Vec::new();
        key::vary(&names, req, &mut values);
        self.vary = (names, values);
    }

    pub(super) fn weight(&self) -> usize {
        let names: usize = self.vary.0.iter().map(String::len).sum();
        self.response.weight() + names + self.vary.1.len()
    }
}

/// In nanoseconds, for 584 years at most.
#[inline]
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What is known after a computation without a response that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left {
    /// What was known before.
    AsItWas,
    /// That there is no such page any more.
    Gone,
    /// That responses are not kept. Until then, other requests do not wait for each other.
    NotKept { until: Duration },
}
