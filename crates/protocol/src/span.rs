//! A range of a buffer as two offsets.

/// A range of bytes, counted from the start of the head. Heads are shorter than 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// `start <= end`
    pub start: u16,
    /// The position after the last byte.
    pub end: u16,
}

impl Span {
    /// The range from `start` to before `end`.
    #[inline]
    pub fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= usize::from(u16::MAX));
        Span {
            start: start as u16,
            end: end as u16,
        }
    }

    /// This range, moved on by `by` bytes.
    pub fn moved(self, by: usize) -> Span {
        Span::new(usize::from(self.start) + by, usize::from(self.end) + by)
    }

    /// These bytes of the head.
    #[inline]
    pub fn of(self, head: &[u8]) -> &[u8] {
        &head[usize::from(self.start)..usize::from(self.end)]
    }
}
