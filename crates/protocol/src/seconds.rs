//! Time in whole seconds of a monotonic clock.

use core::time::Duration;

/// A second, counted from the start of the driver. It only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Seconds(u32);

impl Seconds {
    /// The second in which the driver starts.
    pub const START: Seconds = Seconds(0);
    /// Later than all others.
    pub const NEVER: Seconds = Seconds(u32::MAX);

    /// The second in which `elapsed` has passed since the start.
    #[inline]
    pub fn at(since_start: Duration) -> Seconds {
        Seconds::of(since_start.as_secs())
    }

    /// The second with this number after the start; [`Seconds::NEVER`] if it cannot be represented.
    #[inline]
    pub fn of(count: u64) -> Seconds {
        Seconds(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The number of seconds before it.
    #[inline]
    pub fn count(self) -> u32 {
        self.0
    }

    /// The first second in which `wait` has certainly passed since any moment of this one.
    #[inline]
    pub fn after(self, wait: Duration) -> Seconds {
        let begun = u64::from(wait.subsec_nanos() > 0);
        let wait = wait.as_secs().saturating_add(begun + 1);
        Seconds(self.0.saturating_add(wait.try_into().unwrap_or(u32::MAX)))
    }

    /// The second that is this number of whole seconds later.
    pub fn plus(self, time: Duration) -> Seconds {
        Seconds::of(u64::from(self.0).saturating_add(time.as_secs()))
    }

    /// The next second.
    #[inline]
    pub fn next(self) -> Seconds {
        Seconds(self.0.saturating_add(1))
    }

    /// The number of seconds since an earlier one.
    #[inline]
    pub fn since(self, earlier: Seconds) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_later_than_never() {
        for wait in [Duration::ZERO, Duration::from_secs(1 << 33), Duration::MAX] {
            assert_eq!(Seconds::NEVER.after(wait), Seconds::NEVER);
        }
        assert_eq!(Seconds::START.after(Duration::MAX), Seconds::NEVER);
        assert_eq!(Seconds::at(Duration::MAX), Seconds::NEVER);
        assert_eq!(Seconds::of(7).plus(Duration::MAX), Seconds::NEVER);
        assert_eq!(Seconds::NEVER.next(), Seconds::NEVER);
        assert_eq!(Seconds::START.since(Seconds::NEVER), 0);
    }

    #[test]
    fn a_wait_has_passed_whenever_in_its_second_it_began() {
        let half = Duration::from_millis(500);
        assert_eq!(Seconds::of(7).after(Duration::ZERO), Seconds::of(8));
        assert_eq!(Seconds::of(7).after(half), Seconds::of(9));
        assert_eq!(Seconds::of(7).after(2 * half), Seconds::of(9));
    }
}
