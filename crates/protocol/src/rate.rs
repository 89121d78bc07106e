//! Minimum transfer rates, by a leaky bucket.

use crate::Seconds;
use crate::limits::Limits;
use core::time::Duration;

/// Fewer bytes than these do not count as progress while memory is short. Otherwise a byte a second would be
/// enough.
pub(crate) const SOME: u64 = 512;

/// A minimum rate.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Bytes a second; 0: there is no minimum.
    bytes: u32,
    /// The time before the rate applies.
    grace: Duration,
    /// The longest pause that a faster start allows; or the grace, if that is longer.
    pause: Duration,
}

impl Rate {
    pub(crate) fn new(bytes: usize, grace: Duration, pause: Duration) -> Rate {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let (grace, pause) = (whole(grace), whole(pause.max(grace)));
        Rate {
            bytes,
            grace,
            pause,
        }
    }

    /// The rate at which a client has to send a body. It is at least 1, because otherwise nothing would end a
    /// body that stalls.
    pub(crate) fn of_bodies(limits: &Limits) -> Rate {
        Rate::new(
            limits.body_rate.max(1),
            limits.body_grace,
            limits.idle_timeout,
        )
    }

    /// The rate at which a client has to receive a response.
    pub fn of_responses(limits: &Limits) -> Rate {
        Rate::new(limits.write_rate, limits.write_grace, limits.write_timeout)
    }

    /// The first second in which a connection that has moved nothing since `since` is too slow.
    pub fn first_due(&self, since: Seconds) -> Seconds {
        match self.bytes {
            0 => Seconds::NEVER,
            _ => since.after(self.grace),
        }
    }

    /// The bytes that the rate requires in this time.
    fn worth(&self, time: Duration) -> i64 {
        let secs = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        secs.saturating_mul(self.bytes.into())
    }
}

/// In whole seconds, rounded up.
fn whole(time: Duration) -> Duration {
    let part = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs(time.as_secs().saturating_add(part))
}

/// Measures the bytes of one connection in one direction, for as long as some are waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateMeter {
    /// The second in which `ahead` was counted.
    at: Seconds,
    /// The bytes that have moved in excess of the required rate. Never negative.
    ahead: i64,
    /// The last second with progress that counts.
    moved: Seconds,
    /// The bytes that have moved since then.
    since: u64,
}

impl RateMeter {
    /// Begins to measure: nothing has moved yet.
    pub fn new(now: Seconds, rate: &Rate) -> RateMeter {
        RateMeter {
            at: now,
            ahead: rate.worth(rate.grace),
            moved: now,
            since: 0,
        }
    }

    /// `n` bytes have moved.
    pub fn count(&mut self, n: usize, now: Seconds, rate: &Rate) {
        let passed = now.since(self.at);
        let most = rate.worth(rate.pause);
        // A client that pauses for longer is closed. So a longer pause was one of this process, which was
        // suspended.
        let longest = most.saturating_add(rate.bytes.into());
        let asked = i64::from(rate.bytes).saturating_mul(passed.into());
        let asked = asked.min(longest);
        let n = n as u64;
        let moved = i64::try_from(n).unwrap_or(i64::MAX);
        self.ahead = self.ahead.saturating_sub(asked).saturating_add(moved);
        self.ahead = self.ahead.min(most);
        self.at = now;
        self.since = self.since.saturating_add(n);
        if self.since >= SOME {
            (self.moved, self.since) = (now, 0);
        }
    }

    /// The first second in which it is certainly too slow, if nothing more moves.
    pub fn due(&self, rate: &Rate) -> Seconds {
        if rate.bytes == 0 {
            return Seconds::NEVER;
        }
        // Some part of the second `at` had passed.
        let left = self
            .ahead
            .div_euclid(i64::from(rate.bytes))
            .saturating_add(1);
        let due = i64::from(self.at.count()).saturating_add(left);
        Seconds::of(due.max(0) as u64)
    }

    /// The second of the last progress.
    pub fn moved(&self) -> Seconds {
        self.moved
    }
}

/// From so many bytes on a stall is over.
pub(crate) const PROGRESS: u64 = 16 << 10;

/// How fast a client opens a window that was used up: of a stream or of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    since: Seconds,
    meter: Option<RateMeter>,
    moved: u64,
}

impl Stall {
    /// Nothing can be sent from now on.
    pub fn new(now: Seconds) -> Stall {
        Stall {
            since: now,
            meter: None,
            moved: 0,
        }
    }

    /// `n` bytes were sent, and the window is used up.
    pub fn count(&mut self, n: usize, now: Seconds, rate: &Rate) {
        let since = self.since;
        let meter = self
            .meter
            .get_or_insert_with(|| RateMeter::new(since, rate));
        meter.count(n, now, rate);
        self.moved += n as u64;
        if self.moved >= PROGRESS {
            *self = Stall::new(now);
        }
    }

    /// When it last moved on.
    pub fn moved(&self) -> Seconds {
        self.meter.map_or(self.since, |meter| meter.moved())
    }

    /// When the client is too slow, if the window stays as it is.
    pub fn due(&self, limits: &Limits) -> Seconds {
        let rate = Rate::of_responses(limits);
        let (due, moved) = match &self.meter {
            Some(meter) => (meter.due(&rate), meter.moved()),
            None => (rate.first_due(self.since), self.since),
        };
        due.min(moved.after(limits.write_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(count: u64) -> Seconds {
        Seconds::of(count)
    }

    fn rate(bytes: usize) -> Rate {
        let secs = Duration::from_secs;
        Rate::new(bytes, secs(10), secs(30))
    }

    #[test]
    fn a_client_that_sends_nothing_is_too_slow_after_the_grace() {
        let rate = rate(240);
        let meter = RateMeter::new(at(5), &rate);
        assert_eq!((meter.due(&rate), rate.first_due(at(5))), (at(16), at(16)));
    }

    #[test]
    fn one_byte_a_second_below_the_rate_becomes_too_slow() {
        let rate = rate(240);
        for (n, ends) in [(240, false), (239, true), (1, true)] {
            let mut meter = RateMeter::new(at(0), &rate);
            let is_slow = (1..10_000).map(at).any(|now| {
                // As the driver does: bytes that have moved by then count before the check.
                meter.count(n, now, &rate);
                meter.due(&rate) <= now
            });
            assert_eq!(is_slow, ends, "{n} bytes a second");
        }
    }

    /// In large pieces, as sockets take them.
    #[test]
    fn a_faster_start_allows_a_pause_and_no_more() {
        let rate = rate(240);
        let mut meter = RateMeter::new(at(0), &rate);
        meter.count(100 << 20, at(0), &rate);
        assert_eq!(meter.due(&rate), at(31));
        meter.count(7200, at(30), &rate);
        assert_eq!(meter.due(&rate), at(61));
        meter.count(7199, at(60), &rate);
        assert_eq!(meter.due(&rate), at(90), "29 s and a part");
    }

    /// No check for an hour, and then no more bytes than a socket holds.
    #[test]
    fn time_without_a_check_does_not_count_for_the_client() {
        let rate = rate(240);
        for ahead in [0, 100_000] {
            let mut meter = RateMeter::new(at(0), &rate);
            meter.count(ahead, at(1), &rate);
            meter.count(7200, at(3600), &rate);
            assert!(meter.due(&rate) > at(3600), "{meter:?}");
            meter.count(0, at(3640), &rate);
            assert!(meter.due(&rate) <= at(3640), "{meter:?}");
        }
    }

    #[test]
    fn half_a_second_of_grace_is_not_zero() {
        let half = Duration::from_millis(500);
        let rate = Rate::new(1000, half, half);
        let meter = RateMeter::new(at(5), &rate);
        assert_eq!((meter.due(&rate), rate.first_due(at(5))), (at(7), at(7)));
    }

    #[test]
    fn no_rate_and_the_largest_one() {
        let none = rate(0);
        let mut meter = RateMeter::new(at(0), &none);
        meter.count(1, at(1_000_000), &none);
        assert_eq!(meter.due(&none), Seconds::NEVER);
        assert_eq!(none.first_due(at(0)), Seconds::NEVER);
        let most = Rate::new(usize::MAX, Duration::MAX, Duration::MAX);
        let mut meter = RateMeter::new(Seconds::NEVER, &most);
        meter.count(usize::MAX, Seconds::NEVER, &most);
        assert_eq!(meter.due(&most), Seconds::NEVER);
    }

    #[test]
    fn a_few_bytes_are_no_progress() {
        let rate = rate(0);
        let mut meter = RateMeter::new(at(3), &rate);
        for now in (4..100).map(at) {
            meter.count(4, now, &rate);
        }
        assert_eq!(meter.moved(), at(3));
        meter.count(128, at(100), &rate);
        assert_eq!(meter.moved(), at(100));
        meter.count(512, at(101), &rate);
        assert_eq!(meter.moved(), at(101));
    }
}
