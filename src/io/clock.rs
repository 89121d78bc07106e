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
    seconds_of(SystemTime::now())
}

/// None of them before that.
fn seconds_of(date: SystemTime) -> u64 {
    date.duration_since(UNIX_EPOCH)
        .map_or(0, |unix| unix.as_secs())
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
        self.advance(self.start.elapsed(), unix)
    }

    /// All limits of time go by `now`, since the start, which never goes back. The date is the time of
    /// day, whatever that does.
    fn advance(&mut self, now: Duration, unix: impl FnOnce() -> u64) -> Option<u64> {
        self.now = now;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody sets the time of day, by hours and to the beginning of 1970: the date follows within
    /// [`DATE_AGE`], and what limits go by does not notice.
    #[test]
    fn the_time_of_day_may_jump() {
        let mut clock = Clock::new();
        let (start, hour) = (1_700_000_000, 3600);
        for (second, date) in (0..).zip([start, start + hour, start - hour, 0]) {
            let now = Duration::from_secs(second);
            assert_eq!(clock.advance(now, || date), Some(date));
            assert_eq!(u64::from(clock.seconds()), second);
            let soon = now + DATE_AGE - Duration::from_millis(1);
            assert_eq!(clock.advance(soon, || unreachable!("not due")), None);
            assert_eq!(u64::from(clock.seconds()), second);
        }
        assert_eq!(seconds_of(UNIX_EPOCH - Duration::from_secs(hour)), 0);
    }
}
