//! How long a worker waits for events.

use super::Loop;
use crate::handler::Handler;
use crate::io::mode::Mode;
use crate::io::transport::Transport;
use std::time::{Duration, Instant};

/// Systems refuse a wait for a timer that is due in many thousand years.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

impl<H: Handler, M: Mode<H, T>, T: Transport> Loop<'_, H, M, T> {
    /// From the last look at the clock on; forever, if nothing is due at any time.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if !self.again.is_empty() || !self.seat.door.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.clock.to_next_second();
        let is_rare = self.stop.is_some()
            || !self.timers.is_empty()
            || !self.later.is_empty()
            || self.relief.goes_on()
            || self.listeners.timeout(self.control).is_some();
        match is_rare {
            false => (!self.slab.is_empty()).then_some(next),
            true => self.first_timeout(next),
        }
    }

    /// The same, of all that may be due. Durations are dear to compare, and nearly always `next` is first.
    #[cold]
    #[inline(never)]
    fn first_timeout(&self, next: Duration) -> Option<Duration> {
        let wait = match &self.stop {
            Some(stop) => Some(next.min(stop.at.saturating_duration_since(Instant::now()))),
            None => (!self.slab.is_empty()).then_some(next),
        };
        let at = self.timers.next();
        let timer = at.map(|at| at.saturating_sub(self.clock.now()));
        let accept = self.listeners.timeout(self.control);
        let later =
            (!self.later.is_empty()).then(|| self.later_at.saturating_sub(self.clock.now()));
        let relief = self.relief.timeout(self.clock.now());
        let first = [wait, timer, accept, later, relief];
        let first = first.into_iter().flatten().min();
        first.map(|wait| wait.min(LONGEST_WAIT))
    }
}
