//! Which connections are closed while memory is short.

use super::accept::BACK_OFF;
use super::connection_limit::{MOST_AT_A_TIME, SHARE};
use super::slab::Slab;
use crate::shared::id::ConnId;
use crate::shared::memory_budget::LocalUsage;
use peregrine_protocol::Seconds;
use std::cmp::Reverse;
use std::time::Duration;

/// For each connection, how long none is looked for after too few were found: a hundred times what a look
/// takes, at most.
pub(crate) const REST: Duration = Duration::from_micros(10);

/// What a connection may hold however short memory is.
const SMALL: u32 = 16 << 10;

/// The place of a connection among those that are to be closed: the one that has made no progress for
/// longest comes first, and of several the one that holds most.
pub(crate) type Stall = (Seconds, Reverse<u32>);

/// Of a connection that holds `held` bytes and last made progress at `moved`; `None` if it stays.
pub(crate) fn stall(held: u32, moved: Seconds, limit: Duration, now: Seconds) -> Option<Stall> {
    let is_stalled = || moved.after(limit) <= now;
    (held > SMALL && is_stalled()).then_some((moved, Reverse(held)))
}

/// The searches of one thread.
#[derive(Default)]
pub(crate) struct MemoryRelief {
    /// When the next one may be, as they look at all connections.
    next: Duration,
    /// The last one has found some, so the next one is not left to chance.
    goes_on: bool,
}

impl MemoryRelief {
    /// Appends the identifiers of those that are to be closed now, a 32nd at most. They come in order, and
    /// are closed for as long as memory is short.
    pub(crate) fn search<T>(
        &mut self,
        slab: &Slab<T>,
        tally: &LocalUsage,
        now: Duration,
        stall: impl Fn(&T) -> Option<Stall>,
        into: &mut Vec<ConnId>,
    ) {
        if !tally.is_short() {
            self.goes_on = false;
        } else if now >= self.next {
            let most = (slab.len() / SHARE).clamp(1, MOST_AT_A_TIME);
            slab.first_by(most, |_, value| stall(value), into);
            self.goes_on = !into.is_empty();
            self.next = now + BACK_OFF.max(REST * slab.len() as u32);
        }
    }

    /// The last search has found some.
    #[inline]
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Until the next search that has something to find.
    pub(crate) fn timeout(&self, now: Duration) -> Option<Duration> {
        self.goes_on.then(|| self.next.saturating_sub(now))
    }
}
