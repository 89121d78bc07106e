//! A token bucket: what a client may make the server do for nothing.

use crate::Seconds;

/// It is full at first, and fills up again by so much a second.
///
/// ```
/// use peregrine_protocol::Seconds;
/// use peregrine_protocol::token_bucket::TokenBucket;
///
/// let mut bucket = TokenBucket::new(Seconds::START, 2);
/// let mut take = |second| bucket.take(1, 2, 1, Seconds::of(second));
/// assert!(take(0) && take(0) && !take(0));
/// assert!(take(1) && !take(1));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    left: u32,
    /// When it was last filled up.
    at: Seconds,
}

impl TokenBucket {
    /// A full one, of `most` tokens.
    pub fn new(now: Seconds, most: u32) -> TokenBucket {
        TokenBucket {
            left: most,
            at: now,
        }
    }

    /// Takes so many tokens. False if there are not so many.
    #[inline]
    pub fn take(&mut self, count: u32, most: u32, per_second: u32, now: Seconds) -> bool {
        if now > self.at {
            let more = now.since(self.at).saturating_mul(per_second);
            self.left = self.left.saturating_add(more).min(most);
            self.at = now;
        }
        let left = self.left.checked_sub(count);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let mut bucket = TokenBucket::new(Seconds::START, 1000);
        let mut taken = |at, n| {
            let take = |_: &i32| bucket.take(1, 1000, 33, Seconds::of(at));
            (0..n).take_while(take).count()
        };
        assert_eq!(taken(0, 5000), 1000);
        assert_eq!(taken(1, 5000), 33);
        assert_eq!(taken(11, 5000), 330);
        assert_eq!(taken(11, 5000), 0);
        assert_eq!(taken(10_000, 5000), 1000);
        assert!(!bucket.take(1001, 1000, 33, Seconds::of(20_000)));
        assert!(bucket.take(1000, 1000, 33, Seconds::of(20_000)));
    }
}
