//! What is unsent, piece by piece: bytes and segments.

use super::{Body, WriteBuf};

/// A part of what is unsent.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a, X> {
    /// Bytes; they may be none.
    Bytes(&'a [u8]),
    /// A segment: how many bytes of it are sent, and how many are not.
    Segment(&'a X, u64, u64),
}

impl<X> WriteBuf<X> {
    /// All pieces that are unsent, in order.
    pub fn unsent(&self) -> impl Iterator<Item = Piece<'_, X>> {
        let (mut from, mut part) = (self.sent, self.part);
        let large = self.large[self.large_sent..].iter().flat_map(move |large| {
            let before = Piece::Bytes(&self.bytes[from..large.at]);
            let part = core::mem::take(&mut part);
            from = large.at;
            let body = match &large.body {
                Body::Memory(payload) => Piece::Bytes(&payload.as_bytes()[part as usize..]),
                Body::Segment(segment, len) => Piece::Segment(segment, part, len - part),
                Body::Watcher(_) => Piece::Bytes(b""),
            };
            [before, body]
        });
        let last = self.large.last().map_or(self.sent, |large| large.at);
        let rest = &self.bytes[last.max(self.sent)..];
        large.chain([Piece::Bytes(rest)])
    }
}
