//! Choices of a check, taken from bytes.

/// Gives zeros and empty texts when it is used up.
pub struct Choices<'a>(pub &'a [u8]);

impl<'a> Choices<'a> {
    pub fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % limit
    }

    /// As many bytes as the next one says, but fewer than `limit`.
    pub fn text(&mut self, limit: usize) -> &'a [u8] {
        let len = usize::from(self.byte()) % limit;
        let (text, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        text
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Stands before the letter of an operation among bytes that are sent; twice, it is sent itself.
const MARK: u8 = 0xff;

/// Bytes that are sent, and operations between them: `operation` makes one of its letter and, if it
/// takes any, of what follows that. Nothing is sent behind an end (`e`): a real client could not do
/// that.
pub fn operations<O>(
    bytes: &[u8],
    send: fn(Vec<u8>) -> O,
    operation: impl Fn(u8, &mut dyn Iterator<Item = u8>) -> Option<O>,
) -> Vec<O> {
    let (mut operations, mut text, mut ended) = (Vec::new(), Vec::new(), false);
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        let next = match byte {
            MARK => rest.next().unwrap_or(0x80),
            _ => MARK,
        };
        if next == MARK {
            text.extend((!ended).then_some(byte));
            continue;
        }
        operations.push(send(std::mem::take(&mut text)));
        operations.extend(operation(next, &mut rest));
        ended |= next == b'e';
    }
    operations.push(send(text));
    operations
}
