//! How long a turn of one connection has taken.

use std::time::{Duration, Instant};

/// Requests that pass between two looks at the clock: a look costs as much as a tenth of a short one.
const BETWEEN: u32 = 3;

/// Of one turn. The clock is looked at only where more than one request or message is there, so that a
/// turn with one costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    begun: Option<Instant>,
    /// Until the next look.
    left: u32,
}

impl Pace {
    /// A request is about to be handled, and others are behind it.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
    }

    /// Whether the turn has taken so long that the next request waits for the next turn: looked at
    /// after the first request, and after each fourth one from there on.
    #[inline]
    pub(crate) fn is_over(&mut self, most: Duration) -> bool {
        let Some(begun) = self.begun else {
            return false;
        };
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        self.left = BETWEEN;
        begun.elapsed() >= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_looked_at_after_the_first_and_each_fourth() {
        let mut pace = Pace::default();
        let looks = |pace: &mut Pace| [(); 9].map(|()| pace.is_over(Duration::ZERO));
        assert_eq!(looks(&mut pace), [false; 9], "nothing is behind");
        pace.begin();
        let (yes, no) = (true, false);
        assert_eq!(looks(&mut pace), [yes, no, no, no, yes, no, no, no, yes]);
        pace.begin();
        let mut pace = Pace::default();
        pace.begin();
        assert!(!pace.is_over(Duration::MAX));
    }
}
