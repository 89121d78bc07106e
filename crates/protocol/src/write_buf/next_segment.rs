//! The next segment of a buffer, whatever stands before it.

use super::{Body, WriteBuf};

impl<X> WriteBuf<X> {
    /// The next segment, how much of it is sent and how much is not, whatever stands before it.
    pub fn next_segment(&self) -> Option<(&X, u64, u64)> {
        let unsent = self.large.get(self.large_sent..)?.iter().enumerate();
        let mut segments = unsent.filter_map(|(i, large)| match &large.body {
            Body::Segment(segment, len) => {
                let sent = if i == 0 { self.part } else { 0 };
                Some((segment, sent, len - sent))
            }
            _ => None,
        });
        segments.next()
    }
}
