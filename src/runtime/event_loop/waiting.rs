//! The wait of an event loop, and how long it may last.

use super::{Driver, EventLoop};
use std::time::Duration;

/// The longest wait. Systems refuse to wait for a timer that is due in many thousand years.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

impl<D: Driver> EventLoop<'_, D> {
    /// From the last look at the clock on; forever, if nothing is due at any time.
    pub(super) fn timeout(&self) -> Option<Duration> {
        // What a connection has posted to its own thread wakes nothing.
        let has_more = !self.again.is_empty() || self.has_handshakes();
        if has_more || !self.driver.inbox().is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.clock.to_next_second();
        let is_rare = self.stop.is_some()
            || !self.later.is_empty()
            || self.relief.goes_on()
            || self
                .driver
                .timeout(self.clock.now(), self.control)
                .is_some();
        match is_rare {
            false => (!self.slab.is_empty()).then_some(next),
            true => self.first_timeout(next),
        }
    }

    /// The same, of all that may be due. Durations are dear to compare, and nearly always `next` is first.
    #[cold]
    #[inline(never)]
    fn first_timeout(&self, next: Duration) -> Option<Duration> {
        let now = self.clock.now();
        let wait = match &self.stop {
            Some(stop) => Some(next.min(stop.timeout())),
            None => (!self.slab.is_empty()).then_some(next),
        };
        let driver = self.driver.timeout(now, self.control);
        let later = (!self.later.is_empty()).then(|| self.later_at.saturating_sub(now));
        let relief = self.relief.timeout(now);
        let first = [wait, driver, later, relief];
        let first = first.into_iter().flatten().min();
        first.map(|wait| wait.min(LONGEST_WAIT))
    }
}
