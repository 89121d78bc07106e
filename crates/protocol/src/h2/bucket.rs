//! What a client may make the server do for nothing.

use super::frame::{ErrorCode, FrameError};
use super::limits::Http2Limits;
use crate::Seconds;
use crate::token_bucket::TokenBucket;

/// One token for each of such things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket(TokenBucket);

impl Bucket {
    pub(super) fn new(now: Seconds, limits: &Http2Limits) -> Bucket {
        Bucket(TokenBucket::new(now, limits.nuisances))
    }

    /// Takes one. `what` is the debug data of GOAWAY if it was the last.
    pub(super) fn spend(
        &mut self,
        what: &'static str,
        limits: &Http2Limits,
        now: Seconds,
    ) -> Result<(), FrameError> {
        let (most, per_second) = (limits.nuisances, limits.nuisances_per_second);
        match self.0.take(1, most, per_second, now) {
            true => Ok(()),
            false => Err(FrameError::Connection(ErrorCode::ENHANCE_YOUR_CALM, what)),
        }
    }
}
