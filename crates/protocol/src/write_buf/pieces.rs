//! Reads and replaces a part of a buffer that is not sent yet.

use super::{Body, Mark, WriteBuf};
use alloc::vec::Vec;
use core::ops::Range;

impl<X> WriteBuf<X> {
    /// The bytes since `mark` without the first `skip`, in pieces. `None` if one of them is a segment. No large
    /// element may be in the bytes that are skipped.
    pub fn memory_since(&self, mark: Mark, skip: usize) -> Option<Vec<&[u8]>> {
        let (mut pieces, mut from) = (Vec::new(), mark.bytes + skip);
        for large in &self.large[mark.large..] {
            let Body::Memory(payload) = &large.body else {
                return None;
            };
            pieces.push(&self.bytes[from..large.at]);
            pieces.push(payload.as_bytes());
            from = large.at;
        }
        pieces.push(&self.bytes[from..]);
        Some(pieces)
    }

    /// Replaces a part of the bytes after `mark`. No large element after `mark` may be before the end of the part.
    pub fn replace(&mut self, mark: Mark, part: Range<usize>, new: &[u8]) {
        for large in &mut self.large[mark.large..] {
            debug_assert!(large.at >= mark.bytes + part.end);
            large.at = large.at - part.len() + new.len();
        }
        self.len = self.len - part.len() as u64 + new.len() as u64;
        let part = mark.bytes + part.start..mark.bytes + part.end;
        self.bytes.splice(part, new.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
    use alloc::vec;

    #[test]
    fn bytes_and_large_elements_in_order() {
        let large = || Payload::from(vec![b'l'; 20_000]);
        let mut buf: WriteBuf<u8> = WriteBuf::default();
        buf.push(b"before");
        buf.push_payload(large());
        let mark = buf.mark();
        buf.push(b"head, ");
        buf.push(b"body");
        buf.push_payload(large());
        buf.push(b"end");
        // What stands before a large element can change its length.
        buf.replace(mark, 0..4, b"longer head");
        let pieces = buf.memory_since(mark, 13).expect("no segment");
        assert_eq!(pieces, [&b"body"[..], &[b'l'; 20_000], b"end"]);
        assert_eq!(buf.len_since(mark), 13 + 4 + 20_000 + 3);
        buf.push_segment(1, 5);
        assert_eq!(buf.memory_since(mark, 13), None);
    }
}
