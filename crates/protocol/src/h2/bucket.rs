//! What a client may make the server do for nothing.

use super::frame::{ErrorCode, FrameError};
use super::limits::Http2Limits;
use crate::Seconds;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    left: u32,
    /// When it was last filled up.
    at: Seconds,
}

impl Bucket {
    pub(super) fn new(now: Seconds, limits: &Http2Limits) -> Bucket {
        Bucket {
            left: limits.nuisances,
            at: now,
        }
    }

    /// Takes one. `what` is the debug data of GOAWAY if it was the last.
    pub(super) fn spend(
        &mut self,
        what: &'static str,
        limits: &Http2Limits,
        now: Seconds,
    ) -> Result<(), FrameError> {
        if now > self.at {
            let more = now
                .since(self.at)
                .saturating_mul(limits.nuisances_per_second);
            self.left = self.left.saturating_add(more).min(limits.nuisances);
            self.at = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(FrameError::Connection(ErrorCode::ENHANCE_YOUR_CALM, what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let limits = Http2Limits::default();
        let mut bucket = Bucket::new(Seconds::START, &limits);
        let mut spent = |at, n| {
            let spend = |_: &i32| bucket.spend("", &limits, Seconds::of(at)).is_ok();
            (0..n).take_while(spend).count()
        };
        assert_eq!(spent(0, 5000), 1000);
        assert_eq!(spent(1, 5000), 33);
        assert_eq!(spent(11, 5000), 330);
        assert_eq!(spent(11, 5000), 0);
        assert_eq!(spent(10_000, 5000), 1000);
    }
}
