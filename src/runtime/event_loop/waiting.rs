//! The wait of an event loop, and how long it may last.

use super::{Driver, EventLoop};
use crate::runtime::poll::Events;
use std::io;
use std::time::Duration;

/// The longest wait. Systems refuse to wait for a timer that is due in many thousand years.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

impl<D: Driver> EventLoop<'_, D> {
    /// Waits for events, between the hooks of the handler. The first one may post to this thread, so it is called
    /// before the timeout is known.
    ///
    /// What it has posted is handled without a call of the poller. It does not happen twice in a row, because clients have
    /// to get their turn.
    #[inline]
    pub(super) fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        self.driver.before_wait();
        let has_posts = !self.driver.inbox().is_empty();
        if has_posts && !std::mem::replace(&mut self.has_skipped, true) {
            events.clear();
            self.driver.after_wait();
            return Ok(());
        }
        self.has_skipped = false;
        let due = self.due(has_posts);
        if let Err(error) = self.poll.wait_until(&self.clock, events, due) {
            return self.wait_failed(error);
        }
        self.driver.after_wait();
        Ok(())
    }

    /// Out of line, so that the result of each wait need not be kept for the hook behind it.
    #[cold]
    fn wait_failed(&mut self, error: io::Error) -> io::Result<()> {
        self.driver.after_wait();
        Err(error)
    }

    /// Until when it waits, since the start of the clock; `None` is forever, if nothing is due at any time. `has_posts`: what
    /// this thread has posted to itself wakes nothing.
    #[inline]
    fn due(&self, has_posts: bool) -> Option<Duration> {
        if has_posts || !self.again.is_empty() || self.has_handshakes() {
            return Some(Duration::ZERO);
        }
        let is_rare = self.stop.is_some()
            || !self.later.is_empty()
            || self.relief.goes_on()
            || self
                .driver
                .timeout(self.clock.now(), self.control)
                .is_some();
        match is_rare {
            false => (!self.slab.is_empty()).then(|| self.clock.next_second()),
            true => self.first_due(),
        }
    }

    /// The same, of all that may be due. Durations are dear to compare, and nearly always the next second is first.
    #[cold]
    #[inline(never)]
    fn first_due(&self) -> Option<Duration> {
        let now = self.clock.now();
        let next = self.clock.next_second() - now;
        let wait = match &self.stop {
            Some(stop) => Some(next.min(stop.timeout())),
            None => (!self.slab.is_empty()).then_some(next),
        };
        let driver = self.driver.timeout(now, self.control);
        let later = (!self.later.is_empty()).then(|| self.later_at.saturating_sub(now));
        let relief = self.relief.timeout(now);
        let first = [wait, driver, later, relief];
        let first = first.into_iter().flatten().min();
        first.map(|wait| now + wait.min(LONGEST_WAIT))
    }
}
