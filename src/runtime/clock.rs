//! The time, read once per wake-up.

use crate::metrics;
use crate::metrics::WorkerCounters;
use peregrine_protocol::Seconds;
use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The maximum age of the date in a response.
const DATE_AGE: Duration = Duration::from_millis(500);

/// The beginning of [`turn_nanos`].
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    /// When the present turn of this thread has begun, since [`EPOCH`]. 0 if the thread has no clock.
    static TURN: Cell<u64> = const { Cell::new(0) };
}

/// Nanoseconds since the program has first asked, for 584 years. A thread with an event loop does not read the clock for this: it
/// gets the beginning of its turn.
#[inline]
pub(crate) fn turn_nanos() -> u64 {
    match TURN.get() {
        0 => nanos(),
        turn => turn,
    }
}

/// Nanoseconds since the program has first asked, read from the clock.
#[inline(never)]
pub(crate) fn nanos() -> u64 {
    metrics::nanos(EPOCH.elapsed())
}

pub(crate) struct Clock {
    start: Instant,
    /// The start, in nanoseconds since [`EPOCH`].
    start_nanos: u64,
    /// Since the start.
    now: Duration,
    date_due: Duration,
    /// Whether the last two ticks were [`LONG`] or more apart.
    was_late: bool,
}

/// A handler that holds its worker for this long is reported.
pub(crate) const LONG: Duration = Duration::from_millis(100);

/// Seconds since 1970.
pub(crate) fn unix() -> u64 {
    seconds_of(SystemTime::now())
}

/// No timing before this moment.
fn seconds_of(date: SystemTime) -> u64 {
    date.duration_since(UNIX_EPOCH)
        .map_or(0, |unix| unix.as_secs())
}

/// Stands for a moment that an [`Instant`] of this system cannot represent.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The moment when `wait` has passed. A wait of more than a century is treated as one century.
pub(crate) fn after(wait: Duration) -> Instant {
    Instant::now() + wait.min(CENTURY)
}

impl Clock {
    pub(crate) fn new() -> Clock {
        let epoch = *EPOCH;
        let start = Instant::now();
        Clock {
            start,
            start_nanos: metrics::nanos(start.saturating_duration_since(epoch)),
            now: Duration::ZERO,
            date_due: Duration::ZERO,
            was_late: false,
        }
    }

    /// Reads the clock. Returns the date in seconds since 1970 if it may have changed.
    #[inline]
    pub(crate) fn tick(&mut self) -> Option<u64> {
        let date = self.advance(self.start.elapsed(), unix);
        let seconds = self.now.as_secs() * 1_000_000_000;
        TURN.set(self.start_nanos + seconds + u64::from(self.now.subsec_nanos()));
        date
    }

    /// All timeouts use `now`, the time since the start, which never goes back. The date follows the time of
    /// day, which may jump.
    #[inline]
    fn advance(&mut self, now: Duration, unix: impl FnOnce() -> u64) -> Option<u64> {
        self.was_late = now.saturating_sub(self.now) >= LONG;
        self.now = now;
        if self.now < self.date_due {
            return None;
        }
        self.date_due = self.now + DATE_AGE;
        Some(unix())
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// The moment of the last tick.
    #[cold]
    pub(crate) fn last_tick(&self) -> Instant {
        self.start + self.now
    }

    /// The time since the start, read from the clock and not from the last tick.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether a handler may have held this thread for long in the last turn. Then the calls of the next turn
    /// are timed. A thread that waited for events looks the same, but reads the clock rarely. In builds with debug
    /// assertions all calls are timed.
    #[inline]
    pub(crate) fn was_late(&self) -> bool {
        cfg!(debug_assertions) || self.was_late
    }

    /// All that the last tick was for is done.
    #[inline]
    pub(crate) fn end_turn(&self, is_timed: bool, counters: &WorkerCounters) {
        counters.count_panics();
        counters.activity.rest();
        counters.turns.add(1);
        if is_timed {
            self.end_timed_turn(counters);
        }
    }

    #[cold]
    fn end_timed_turn(&self, counters: &WorkerCounters) {
        counters.turns_timed.add(1);
        let time = self.elapsed().saturating_sub(self.now);
        counters.turn_nanos.add(metrics::nanos(time));
    }

    /// Since the start.
    #[inline]
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// The time since the start in whole seconds.
    #[inline]
    pub(crate) fn seconds(&self) -> Seconds {
        Seconds::at(self.now)
    }

    /// The next whole second, since the start.
    #[inline]
    pub(crate) fn next_second(&self) -> Duration {
        Duration::from_secs(self.now.as_secs() + 1)
    }
}

impl Drop for Clock {
    /// The thread has no turns any more.
    fn drop(&mut self) {
        TURN.set(0);
    }
}

/// Chooses one in `n` at random. A fixed interval would select the same request again and again if requests
/// come in a pattern.
pub(crate) struct Sampler {
    one_in: u32,
    /// Until the next.
    left: u32,
    chance: u32,
}

impl Sampler {
    /// `seed` differs between threads, so that they do not choose alike. A rate of 0 chooses none.
    pub(crate) fn new(one_in: u32, seed: usize) -> Sampler {
        Sampler {
            one_in,
            left: 1,
            // Not 0, because xorshift never leaves 0. The golden ratio spreads small numbers.
            chance: (seed as u32).wrapping_mul(0x9e37_79b9) | 1,
        }
    }

    /// Whether this one is chosen. The first is.
    #[inline]
    pub(crate) fn next(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0 && self.one_in > 0 && self.choose()
    }

    #[cold]
    fn choose(&mut self) -> bool {
        // A step of xorshift32.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 17;
        self.chance ^= self.chance << 5;
        // A number from 1 to 2 n - 1, which is n on average.
        let most = self.one_in.saturating_mul(2) - 1;
        self.left = 1 + self.chance % most;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of day is set, by hours and to the beginning of 1970. The date follows within [`DATE_AGE`],
    /// and timeouts are not affected.
    #[test]
    fn the_time_of_day_may_jump() {
        let mut clock = Clock::new();
        let (start, hour) = (1_700_000_000, 3600);
        for (second, date) in (0..).zip([start, start + hour, start - hour, 0]) {
            let now = Duration::from_secs(second);
            assert_eq!(clock.advance(now, || date), Some(date));
            assert_eq!(clock.seconds(), Seconds::of(second));
            let soon = now + DATE_AGE - Duration::from_millis(1);
            assert_eq!(clock.advance(soon, || unreachable!("not due")), None);
            assert_eq!(clock.seconds(), Seconds::of(second));
        }
        assert_eq!(seconds_of(UNIX_EPOCH - Duration::from_secs(hour)), 0);
    }

    #[test]
    fn the_time_stands_still_in_a_turn_and_nowhere_else() {
        let before = turn_nanos();
        let mut clock = Clock::new();
        clock.tick();
        let turn = turn_nanos();
        while nanos() <= turn {}
        assert_eq!(turn_nanos(), turn);
        let other = std::thread::spawn(turn_nanos).join().expect("no panic");
        assert!(before <= turn && turn < other, "{before} {turn} {other}");
        clock.tick();
        assert!(turn_nanos() > turn);
        drop(clock);
        let first = turn_nanos();
        while turn_nanos() == first {}
    }

    #[test]
    fn a_turn_after_a_long_time_is_late() {
        let mut clock = Clock::new();
        let mut is_late_after = |millis| {
            let now = clock.now() + Duration::from_millis(millis);
            clock.advance(now, || 0);
            clock.was_late
        };
        for (millis, is_late) in [
            (99, false),
            (100, true),
            (99, false),
            (5000, true),
            (0, false),
        ] {
            assert_eq!(is_late_after(millis), is_late, "{millis} ms");
        }
    }

    #[test]
    fn one_in_n_is_chosen() {
        let chosen = |one_in, of| {
            let mut sampler = Sampler::new(one_in, 3);
            (0..of).filter(|_| sampler.next()).count()
        };
        assert_eq!(chosen(0, 1000), 0);
        assert_eq!(chosen(1, 1000), 1000);
        assert_eq!(chosen(u32::MAX, 1000), 1, "the first");
        for one_in in [2, 64, 1000] {
            let count = chosen(one_in, 1_000_000) * one_in as usize;
            assert!((950_000..1_050_000).contains(&count), "{count} of {one_in}");
        }
    }

    #[test]
    fn threads_choose_differently() {
        let [mut one, mut other] = [0, 1].map(|seed| Sampler::new(64, seed));
        let same = (0..10_000).filter(|_| one.next() & other.next()).count();
        assert!(same < 20, "{same}");
    }
}
