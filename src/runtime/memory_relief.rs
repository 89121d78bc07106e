//! Which connections are closed while memory is short.

use super::accept::BACK_OFF;
use super::connection_limit::{MOST_AT_A_TIME, SHARE};
use super::slab::Slab;
use crate::shared::id::ConnId;
use crate::shared::memory_budget::LocalUsage;
use peregrine_protocol::Seconds;
use std::cmp::Reverse;
use std::time::Duration;

/// After a search that found too few, how long the next search waits, for each connection. It is about a
/// hundred times what the search takes.
pub(crate) const REST: Duration = Duration::from_micros(10);

/// What a connection may hold even if memory is short.
const SMALL: u32 = 16 << 10;

/// The rank of a connection among those that are to be closed. The one without progress for the longest time
/// comes first, and of several the one that holds most.
pub(crate) type Stall = (Seconds, Reverse<u32>);

/// The rank of a connection that holds `held` bytes and last made progress at `moved`. `None`: it stays open.
pub(crate) fn stall(held: u32, moved: Seconds, limit: Duration, now: Seconds) -> Option<Stall> {
    let is_stalled = || moved.after(limit) <= now;
    (held > SMALL && is_stalled()).then_some((moved, Reverse(held)))
}

/// The searches of one thread.
#[derive(Default)]
pub(crate) struct MemoryRelief {
    /// When the next search may begin, because a search looks at all connections.
    next: Duration,
    /// The last search found some, so the next one follows without a pause.
    goes_on: bool,
}

impl MemoryRelief {
    /// Appends the identifiers of the connections that may be closed now, at most a 32nd of all. They are in
    /// order of their rank, and the caller closes them for as long as memory is short.
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

    /// Whether the last search found some.
    #[inline]
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The time until the next search that can find something.
    pub(crate) fn timeout(&self, now: Duration) -> Option<Duration> {
        self.goes_on.then(|| self.next.saturating_sub(now))
    }
}
