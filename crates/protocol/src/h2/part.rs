//! Moves a part of one buffer to another: what a window allows.

use crate::write_buf::{MAX_SLICES, NoSegment, Segment, WriteBuf};

/// A segment of which a part can be sent alone.
pub trait Part {
    /// The part behind `from` bytes, of `len` bytes.
    fn part(&self, from: u64, len: u64) -> Self;
}

impl Part for NoSegment {
    fn part(&self, _from: u64, _len: u64) -> NoSegment {
        match *self {}
    }
}

impl<X: Part> WriteBuf<X> {
    /// Moves the first `n` bytes that are not sent to the end of `out`. Bytes in memory are copied.
    pub fn transfer(&mut self, n: usize, out: &mut WriteBuf<X>) {
        let mut left = n.min(usize::try_from(self.len()).unwrap_or(usize::MAX));
        while left > 0 {
            let step = match self.next() {
                Segment::Row { bytes, .. } => {
                    let step = bytes.len().min(left);
                    out.push(&bytes[..step]);
                    step
                }
                Segment::Segment { segment, sent, len } => {
                    let step = len.min(left as u64);
                    out.push_segment(segment.part(sent, step), step);
                    step as usize
                }
                Segment::Pieces => {
                    let mut pieces = [&b""[..]; MAX_SLICES];
                    let count = self.gather(&mut pieces, |piece| piece);
                    let mut step = 0;
                    for piece in &pieces[..count] {
                        let len = piece.len().min(left - step);
                        out.push(&piece[..len]);
                        step += len;
                    }
                    step
                }
            };
            debug_assert!(step > 0);
            if step as u64 == self.len() && !self.is_row() {
                // They wait until the bytes are sent, and not only moved.
                self.take_watchers()
                    .for_each(|watcher| out.push_watcher(watcher));
            }
            self.advance(step);
            left -= step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    /// So many bytes from some place on.
    #[derive(Debug, PartialEq)]
    struct Range(u64, u64);

    impl Part for Range {
        fn part(&self, from: u64, len: u64) -> Range {
            Range(self.0 + from, len)
        }
    }

    /// What a driver would send: a byte of a segment is its position.
    fn sent(buf: &mut WriteBuf<Range>) -> Vec<u8> {
        let mut all = Vec::new();
        while !buf.is_empty() {
            let mut other = WriteBuf::default();
            match buf.next() {
                Segment::Segment { segment, sent, len } => {
                    all.extend((segment.0 + sent..segment.0 + sent + len).map(|at| at as u8));
                    let len = len as usize;
                    buf.advance(len);
                }
                _ => {
                    buf.transfer(1, &mut other);
                    match other.next() {
                        Segment::Row { bytes, .. } => all.extend_from_slice(bytes),
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        all
    }

    #[test]
    fn any_part_of_anything() {
        let filled = || {
            let mut buf = WriteBuf::default();
            buf.push(b"head");
            buf.push_payload(Payload::Owned((0..20_000u32).map(|i| i as u8).collect()));
            buf.push_segment(Range(7, 300), 300);
            buf.push(b"tail");
            buf
        };
        let whole = sent(&mut filled());
        assert_eq!(whole.len(), 20_308);
        for step in [1, 7, 300, 16_384, 20_004, 30_000] {
            let (mut from, mut to) = (filled(), WriteBuf::default());
            while !from.is_empty() {
                let before = from.len();
                from.transfer(step, &mut to);
                assert_eq!(before - from.len(), before.min(step as u64));
            }
            assert_eq!(sent(&mut to), whole, "{step}");
        }
    }
}
