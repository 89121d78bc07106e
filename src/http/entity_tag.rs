//! Entity tags, and lists of them in requests (RFC 9110 section 8.8.3).

use peregrine_protocol::http::field_block;

/// How entity tags are compared (RFC 9110 section 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// A weak tag matches nothing.
    Strong,
    Weak,
}

/// Whether the value of a field, `*` or a list of entity tags, matches `etag`, which is strong.
pub(crate) fn is_listed(line: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    line == b"*" || lists(line, etag, comparison)
}

/// Reads the list up to the first error in its syntax.
fn lists(mut line: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    loop {
        while let [b',' | b' ' | b'\t', rest @ ..] = line {
            line = rest;
        }
        let (is_weak, tag) = match line.strip_prefix(b"W/") {
            Some(tag) => (true, tag),
            None => (false, line),
        };
        let Some(end) = tag_end(tag) else {
            return false;
        };
        let (tag, rest) = tag.split_at(end);
        if tag == etag && !(is_weak && comparison == Comparison::Strong) {
            return true;
        }
        let rest = rest.trim_ascii_start();
        if !matches!(rest, [] | [b',', ..]) {
            return false;
        }
        line = rest;
    }
}

/// The end of a quoted tag at the front (RFC 9110 section 8.8.3).
fn tag_end(tag: &[u8]) -> Option<usize> {
    let inner = tag.strip_prefix(b"\"")?;
    let close = inner.iter().position(|b| *b == b'"')?;
    let is_tag_byte = |b: &u8| matches!(b, 0x21 | 0x23..=0x7e | 0x80..);
    inner[..close].iter().all(is_tag_byte).then_some(close + 2)
}

/// The fields of a 200 that a 304 has: not those that describe a body that is not there (RFC 9110 section 15.4.5).
pub(crate) fn not_modified_fields(fields: &[u8]) -> Vec<u8> {
    let of_body = ["content-type", "content-encoding", "content-language"];
    let mut kept = Vec::with_capacity(fields.len());
    for (name, value) in field_block::fields(fields) {
        let is = |own: &&str| name.eq_ignore_ascii_case(own.as_bytes());
        if !of_body.iter().any(is) {
            field_block::push(name, value, &mut kept);
        }
    }
    kept
}
