//! Ends a turn that takes too long.

use std::time::{Duration, Instant};

/// The number of requests between two reads of the clock. A read costs as much as a tenth of a short request.
const BETWEEN: u32 = 3;

/// The time limit of one turn. The clock is read only if more than one request or message has arrived, so a
/// turn with one costs nothing. The read is a separate function, because it cost each request 20 instructions
/// when it was inlined.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Requests until the next read of the clock; 0 if the turn is not timed.
    left: u32,
    /// `None`: no limit.
    over_at: Option<Instant>,
}

impl Pace {
    /// A request is about to be handled in a turn with this limit. `has_more`: others follow it.
    #[inline]
    pub(crate) fn begin(&mut self, most: Duration, has_more: impl FnOnce() -> bool) {
        if self.left == 0 && has_more() {
            self.start(most);
        }
    }

    #[inline(never)]
    fn start(&mut self, most: Duration) {
        self.left = 1;
        self.over_at = Instant::now().checked_add(most);
    }

    /// Whether the turn has taken so long that the next request has to wait for the next turn. The clock is
    /// read after the first request, and then after each fourth one.
    #[inline]
    pub(crate) fn is_over(&mut self, has_next: impl FnOnce() -> bool) -> bool {
        if self.left != 1 {
            self.left = self.left.saturating_sub(1);
            return false;
        }
        has_next() && self.look()
    }

    #[inline(never)]
    fn look(&mut self) -> bool {
        self.left = BETWEEN + 1;
        self.over_at.is_some_and(|at| Instant::now() >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_after_the_first_request_and_each_fourth() {
        let mut pace = Pace::default();
        let looks = |pace: &mut Pace| [(); 9].map(|()| pace.is_over(|| true));
        pace.begin(Duration::ZERO, || false);
        assert_eq!(looks(&mut pace), [false; 9], "no request follows");
        pace.begin(Duration::ZERO, || true);
        let (yes, no) = (true, false);
        assert_eq!(looks(&mut pace), [yes, no, no, no, yes, no, no, no, yes]);
        let mut pace = Pace::default();
        pace.begin(Duration::ZERO, || true);
        assert!(!pace.is_over(|| false), "nothing waits");
        let mut pace = Pace::default();
        pace.begin(Duration::MAX, || true);
        assert!(!pace.is_over(|| true));
    }
}
