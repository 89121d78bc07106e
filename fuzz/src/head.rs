//! The head parser: resumable without a difference, and no more lenient than another.

use super::{limits, split_of};
use peregrine::internals::Head;
use peregrine::{Limits, ProtocolError, Version};
use std::ops::Range;

#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Complete(Parsed),
    Incomplete,
    Refused(ProtocolError),
}

/// Where everything stands.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    pub(super) version: Version,
    pub(super) fields: Vec<(Range<usize>, Range<usize>)>,
    pub(super) end: usize,
}

/// A head is understood alike as a whole, byte by byte, and in two pieces, with a table that is
/// used again; and what is accepted, httparse accepts, with the same parts.
pub fn check(bytes: &[u8]) {
    let mut head = Head::default();
    for limits in limits() {
        let len = bytes.len();
        let whole = outcome(&mut head, bytes, [len], &limits);
        let in_two = outcome(&mut head, bytes, [split_of(bytes), len], &limits);
        assert_eq!(in_two, whole, "split at {}", split_of(bytes));
        let by_byte = outcome(&mut head, bytes, 1..=len, &limits);
        assert_eq!(by_byte, whole, "byte by byte");
        if let Outcome::Complete(parsed) = whole {
            assert!(parsed.end <= limits.head_bytes && parsed.end <= len);
            assert!(parsed.fields.len() <= limits.header_fields);
            is_that_of_httparse(&parsed, bytes);
        }
    }
}

/// Parses what has come when there are so many bytes, for each of `ends`.
pub(super) fn outcome(
    head: &mut Head,
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
    limits: &Limits,
) -> Outcome {
    head.reset();
    for end in ends {
        match head.parse(&bytes[..end], limits) {
            Ok(false) => {}
            Ok(true) => return Outcome::Complete(parsed(head, bytes)),
            Err(error) => return Outcome::Refused(error),
        }
    }
    Outcome::Incomplete
}

fn parsed(head: &Head, bytes: &[u8]) -> Parsed {
    let range = |part: &[u8]| {
        let start = part.as_ptr().addr() - bytes.as_ptr().addr();
        start..start + part.len()
    };
    let fields = head.fields(bytes);
    Parsed {
        method: range(head.method(bytes)),
        target: range(head.target(bytes)),
        version: head.version(),
        fields: fields.map(|(n, v)| (range(n), range(v))).collect(),
        end: head.end(),
    }
}

fn is_that_of_httparse(parsed: &Parsed, bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let status = request.parse(bytes);
    assert_eq!(status, Ok(httparse::Status::Complete(parsed.end)));
    let text = |part: &Range<usize>| std::str::from_utf8(&bytes[part.clone()]).ok();
    assert_eq!(request.method, text(&parsed.method));
    assert_eq!(request.path, text(&parsed.target));
    assert_eq!(
        request.version == Some(1),
        parsed.version == Version::Http11
    );
    assert_eq!(request.headers.len(), parsed.fields.len());
    for (theirs, (name, value)) in request.headers.iter().zip(&parsed.fields) {
        assert_eq!(Some(theirs.name), text(name));
        assert_eq!(theirs.value, &bytes[value.clone()], "{}", theirs.name);
    }
}
