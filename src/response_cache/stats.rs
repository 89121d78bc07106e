//! What a cache counts.

use super::store::Store;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a [`ResponseCache`](super::ResponseCache) since it was made, and what is in it now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Responses from memory that were fresh.
    pub hits: u64,
    /// Responses from memory that were stale, while another request computed the next one.
    pub stale: u64,
    /// Calls of handlers for a response that may be kept.
    pub misses: u64,
    /// Requests that waited for the response that another one computed. Those that got it are in `hits` as well.
    pub waited: u64,
    /// Requests that did not wait because too many did already. They got 503.
    pub refused: u64,
    /// Calls of handlers for responses that are not kept: it is known, or the request has waited in vain.
    pub not_kept: u64,
    /// Requests that are not for the cache, and HEAD without a response in memory.
    pub passed: u64,
    /// Entries that were dropped because there were too many bytes.
    pub evicted: u64,
    /// Entries in memory. A response that depends on fields that `Vary` names has one more.
    pub entries: u64,
    /// Bytes of the entries, with their keys.
    pub bytes: u64,
    /// Requests that wait now.
    pub waiting: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) waited: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) not_kept: AtomicU64,
    pub(super) passed: AtomicU64,
}

impl Counters {
    #[inline]
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self, store: &Store, waiting: usize) -> CacheStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            hits: of(&self.hits),
            stale: of(&self.stale),
            misses: of(&self.misses),
            waited: of(&self.waited),
            refused: of(&self.refused),
            not_kept: of(&self.not_kept),
            passed: of(&self.passed),
            evicted: store.evicted(),
            entries: store.len() as u64,
            bytes: store.bytes() as u64,
            waiting: waiting as u64,
        }
    }
}
