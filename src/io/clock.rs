//! The time, looked up once per wake-up.

use crate::conn::Seconds;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How old the date in an answer may get.
const DATE_AGE: Duration = Duration::from_millis(500);

pub(crate) struct Clock {
    start: Instant,
    /// Since the start.
    now: Duration,
    date_due: Duration,
}

/// Seconds since 1970.
pub(crate) fn unix() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |unix| unix.as_secs())
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock {
            start: Instant::now(),
            now: Duration::ZERO,
            date_due: Duration::ZERO,
        }
    }

    /// Looks at the clock. Says the date as seconds since 1970 when it may have changed.
    pub(crate) fn tick(&mut self) -> Option<u64> {
        self.now = self.start.elapsed();
        if self.now < self.date_due {
            return None;
        }
        self.date_due = self.now + DATE_AGE;
        Some(unix())
    }

    /// Since the start, and not as of the last look.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Since the start.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Whole seconds since the start.
    pub(crate) fn seconds(&self) -> Seconds {
        self.now.as_secs() as Seconds
    }

    /// How long until the next whole second.
    pub(crate) fn to_next_second(&self) -> Duration {
        Duration::from_secs(1) - Duration::from_nanos(u64::from(self.now.subsec_nanos()))
    }
}
