//! Decisions and texts taken from the bytes of an input.

/// Gives zeros and empty texts when it is used up.
pub(super) struct Source<'a>(pub(super) &'a [u8]);

impl<'a> Source<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % limit
    }

    /// As many bytes as the next one says, but fewer than `limit`.
    pub(super) fn text(&mut self, limit: usize) -> &'a [u8] {
        let len = usize::from(self.byte()) % limit;
        let (text, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
