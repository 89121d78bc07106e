//! What the checks of HPACK and QPACK share.

use super::{Decode, DecodedField, Kind, OVERHEAD};
use crate::http::field_block;

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

/// The fields of a section, and the size of the list.
pub(crate) fn decoded<D: Decode>(
    decoder: &mut D,
    section: &[u8],
    limit: usize,
) -> Result<(Vec<Seen>, usize), D::Error> {
    let (mut out, mut fields) = (b"before".to_vec(), Vec::new());
    let take = |out: &mut Vec<u8>, field: DecodedField| {
        let seen = Seen::of(out, field);
        assert_eq!(field.kind, Kind::of(&seen.name));
        fields.push(seen);
        if field.start % 2 == 0 {
            out.truncate(field.start);
        }
    };
    let size = decoder.decode(section, limit, &mut out, take)?;
    assert!(out.starts_with(b"before"));
    Ok((fields, size))
}

/// Fields are judged as the grammar says, and the size is theirs.
pub(crate) fn are_judged(fields: &[Seen], size: usize) {
    let sum = |sum, field: &Seen| sum + field.name.len() + field.value.len() + OVERHEAD;
    assert_eq!(size, fields.iter().fold(0, sum));
    for field in fields {
        assert_eq!(
            field.is_valid,
            is_valid(&field.name, &field.value),
            "{field:?}"
        );
    }
}

/// The fields as a block, if they are ones that a block may have.
pub(crate) fn block_of(fields: &[Seen]) -> Option<Vec<u8>> {
    let mut own = Vec::new();
    for field in fields {
        let name = field.name.to_ascii_uppercase();
        own.extend([&name, &b": "[..], &field.value, b"\r\n"].concat());
    }
    let read = || field_block::fields(&own);
    let is_same = |((name, value), field): ((&[u8], &[u8]), &Seen)| {
        name.eq_ignore_ascii_case(&field.name) && value == field.value
    };
    let is_block = fields.iter().all(|field| field.is_valid)
        && read().count() == fields.len()
        && read().zip(fields).all(is_same);
    is_block.then_some(own)
}

/// What was decoded again is the status of this number, and the fields.
pub(crate) fn is_what_was_sent(again: &[Seen], fields: &[Seen], number: usize) {
    let status = (200 + number).to_string().into_bytes();
    assert_eq!(
        (&again[0].name[..], &again[0].value),
        (&b":status"[..], &status)
    );
    assert_eq!(again.len(), fields.len() + 1);
    for (again, field) in again[1..].iter().zip(fields) {
        assert_eq!(again.name, field.name.to_ascii_lowercase());
        assert_eq!(again.value, field.value);
    }
}
