//! A block of header fields: written here, and read back as names and values.
//!
//! [`push`] and [`field_line`](crate::field_line) write them, [`fields`] reads them again.
//!
//! ```text
//!   block = *( name ": " value CRLF )
//! ```
//!
//! The caller ensures that names and values are valid by RFC 9110 section 5, so none has a line end.

use alloc::vec::Vec;
use core::ops::Range;

/// Appends a field.
#[inline(always)]
pub fn push(name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    block.reserve(name.len() + value.len() + 4);
    block.extend_from_slice(name);
    block.extend_from_slice(b": ");
    block.extend_from_slice(value);
    block.extend_from_slice(b"\r\n");
}

/// A block of one field, from two literals.
#[macro_export]
macro_rules! field_line {
    ($name:literal, $value:literal) => {
        concat!($name, ": ", $value, "\r\n").as_bytes()
    };
}

/// Names and values.
pub fn fields(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = block;
    let lines = core::iter::from_fn(move || {
        let (line, behind) = rest.split_at(memchr::memchr(b'\n', rest)? + 1);
        rest = behind;
        Some(line)
    });
    lines.filter_map(|line| {
        let name = memchr::memchr(b':', line)?;
        Some((&line[..name], line.get(name + 2..line.len() - 2)?))
    })
}

/// The value of the first field with this name.
pub fn value<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut fields = fields(block);
    let (_, value) = fields.find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(value)
}

/// The position of the first field with this name.
pub fn find(block: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    while let Some(len) = memchr::memchr(b'\n', &block[at..]) {
        let line = &block[at..=at + len];
        if line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name) {
            return Some(at..at + len + 1);
        }
        at += len + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_pushed_can_be_read() {
        let pushed: [(&[u8], &[u8]); 5] = [
            (b"a", b"b"),
            (b"Empty", b""),
            (b"x-list", b"a: b, c:d"),
            (b"A", b" \xff "),
            (b"last", b":"),
        ];
        let mut block = Vec::new();
        for (name, value) in pushed {
            push(name, value, &mut block);
        }
        assert!(fields(&block).eq(pushed));
        assert_eq!(value(&block, "a"), Some(&b"b"[..]));
        assert_eq!(value(&block, "EMPTY"), Some(&b""[..]));
        assert_eq!(value(&block, "as"), None);
        assert_eq!(find(&block, b"a"), Some(0..6));
        assert_eq!(find(&block, b"EMPTY"), Some(6..15));
        assert_eq!(find(&block, b"as"), None);
        assert_eq!(find(&block[6..], b"a").map(|at| at.len()), Some(8));
        assert_eq!(fields(b"").count(), 0);
        assert!(fields(field_line!("a", "b")).eq([pushed[0]]));
    }
}
