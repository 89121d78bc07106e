//! How long the present turn of a thread has lasted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Written by its thread at the beginning and the end of each turn, read by others.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// When the clock of the thread was started.
    start: OnceLock<Instant>,
    /// When the present turn began, since the start: seconds in the upper half, nanoseconds in the lower one. 0 while
    /// the thread waits.
    woke: AtomicU64,
}

impl Activity {
    pub(crate) fn begin(&self, start: Instant) {
        let _ = self.start.set(start);
    }

    /// The thread wakes up, at this time since the start of its clock.
    #[inline]
    pub(crate) fn wake(&self, now: Duration) {
        let now = (now.as_secs() << 32) | u64::from(now.subsec_nanos());
        self.woke.store(now, Ordering::Relaxed);
    }

    /// The thread is about to wait.
    #[inline]
    pub(crate) fn rest(&self) {
        self.woke.store(0, Ordering::Relaxed);
    }

    /// How long the present turn has lasted; zero while the thread waits.
    pub(crate) fn busy(&self) -> Duration {
        let Some(start) = self.start.get() else {
            return Duration::ZERO;
        };
        match self.woke.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            woke => {
                let woke = Duration::new(woke >> 32, woke as u32);
                start.elapsed().saturating_sub(woke)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_lasts_from_its_beginning_until_now() {
        let activity = Activity::default();
        activity.wake(Duration::from_secs(1));
        assert_eq!(activity.busy(), Duration::ZERO, "without a clock");
        let hour = Duration::from_secs(3600);
        let Some(start) = Instant::now().checked_sub(hour) else {
            return; // The system has run for less than an hour, and cannot represent it.
        };
        activity.begin(start);
        activity.wake(Duration::new(3, 999_999_999));
        let busy = activity.busy();
        assert!(busy >= hour - Duration::from_secs(4), "{busy:?}");
        activity.wake(2 * hour);
        assert_eq!(
            activity.busy(),
            Duration::ZERO,
            "the turn has begun after the look"
        );
        activity.rest();
        assert_eq!(activity.busy(), Duration::ZERO);
    }
}
