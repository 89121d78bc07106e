//! Ends a turn that takes too long.

use std::time::{Duration, Instant};

/// Requests that pass between two looks at the clock: a look costs as much as a tenth of a short one.
const BETWEEN: u32 = 3;

/// Of one turn. The clock is looked at only where more than one request or message is there, so that a
/// turn with one costs nothing. What looks is a function of its own: inlined, it cost each request 20
/// instructions.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Until the next look; 0 if the clock does not run.
    left: u32,
    /// `None` is never.
    over_at: Option<Instant>,
}

impl Pace {
    /// A request is about to be handled in a turn that may take this long; `has_more` if others are behind
    /// it.
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

    /// Whether the turn has taken so long that the next request, if there is one, waits for the next turn:
    /// looked at after the first request, and after each fourth one from there on.
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
    fn the_clock_is_looked_at_after_the_first_and_each_fourth() {
        let mut pace = Pace::default();
        let looks = |pace: &mut Pace| [(); 9].map(|()| pace.is_over(|| true));
        pace.begin(Duration::ZERO, || false);
        assert_eq!(looks(&mut pace), [false; 9], "nothing is behind");
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
