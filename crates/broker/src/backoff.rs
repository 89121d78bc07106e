//! How long to wait before the next attempt to connect.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Backoff {
    most: Duration,
    failures: u32,
    random: RandomState,
}

impl Backoff {
    pub(crate) fn new(most: Duration) -> Backoff {
        Backoff {
            most,
            failures: 0,
            random: RandomState::new(),
        }
    }

    /// The time before the next attempt: 0.1 s, doubled for each failure, up to the most, less a random part of up to a half.
    pub(crate) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubled = 1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX);
        let whole = FIRST.saturating_mul(doubled).min(self.most);
        // From 0 to 255.
        let part = self.random.hash_one(self.failures) as u8;
        whole - whole / 512 * u32::from(part)
    }

    /// A connection has lasted.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.random = RandomState::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_double_up_to_the_most() {
        let most = Duration::from_secs(5);
        let mut backoff = Backoff::new(most);
        for millis in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let (whole, time) = (Duration::from_millis(millis), backoff.next());
            assert!(time > whole / 2 && time <= whole, "{time:?} of {whole:?}");
        }
        for _ in 0..100 {
            assert!(backoff.next() <= most);
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
        // Not all nodes come back at the same moment.
        let times: std::collections::HashSet<_> =
            (0..100).map(|_| Backoff::new(most).next()).collect();
        assert!(times.len() > 10);
    }
}
