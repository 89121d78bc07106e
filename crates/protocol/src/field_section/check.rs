//! What the checks of HPACK and QPACK share.

use super::DecodedField;

/// A field as it was decoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) is_valid: bool,
}

impl Seen {
    /// The last one of `out`.
    pub(crate) fn of(out: &[u8], field: DecodedField) -> Seen {
        assert_eq!(field.end, out.len());
        Seen {
            name: out[field.start..field.value].to_vec(),
            value: out[field.value..field.end].to_vec(),
            is_valid: field.is_valid,
        }
    }
}

/// RFC 9113 section 8.2.1 and RFC 9114 section 4.2, byte by byte.
pub(crate) fn is_valid(name: &[u8], value: &[u8]) -> bool {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let lower = |b: &u8| token(b) && !b.is_ascii_uppercase();
    let text = |b: &u8| *b == b'\t' || *b >= b' ' && *b != 0x7f;
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    let is_name = name.starts_with(b":") || !name.is_empty() && name.iter().all(lower);
    is_name && value.iter().all(text) && !blank(value.first()) && !blank(value.last())
}
