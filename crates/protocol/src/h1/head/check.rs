//! Properties of the head parser for tests and fuzzing.

use super::Head;
use crate::checks::{limits, split_of};
use crate::error::ProtocolError;
use crate::h1::chunked::check::{is_token, is_value};
use crate::http::Version;
use crate::limits::Limits;
use core::ops::Range;

#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Complete(Parsed),
    Incomplete,
    Refused(ProtocolError),
}

/// Where everything stands.
#[derive(Debug, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) method: Range<usize>,
    pub(crate) target: Range<usize>,
    pub(crate) version: Version,
    pub(crate) fields: Vec<(Range<usize>, Range<usize>)>,
    pub(crate) end: usize,
}

/// A head is understood alike as a whole, byte by byte, and in two pieces, with a table that is
/// used again; what is accepted has nothing but what the grammar allows between its parts; and
/// httparse, which is more lenient, accepts it, too, with the same parts.
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
            is_well_formed(&parsed, bytes);
            is_that_of_httparse(&parsed, bytes);
        }
    }
}

/// Parses the first bytes up to each of `ends`, as they would arrive.
pub(crate) fn outcome(
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
    let fields = head.fields().iter();
    let fields = fields.map(|field| (range(field.name.of(bytes)), range(field.value.of(bytes))));
    Parsed {
        method: range(head.method.of(bytes)),
        target: range(head.target.whole.of(bytes)),
        version: head.version,
        fields: fields.collect(),
        end: head.len(),
    }
}

/// RFC 9112 sections 2.1, 3 and 5, without the leniencies of 2.2.
fn is_well_formed(parsed: &Parsed, bytes: &[u8]) {
    let blank = |bytes: &[u8]| bytes.iter().all(|b| matches!(b, b' ' | b'\t'));
    let (method, target) = (&parsed.method, &parsed.target);
    assert_eq!(method.start, 0);
    assert!(is_token(&bytes[method.clone()]));
    assert_eq!(&bytes[method.end..target.start], b" ");
    let visible = |b: &u8| b.is_ascii_graphic() && *b != b'#';
    assert!(!target.is_empty() && bytes[target.clone()].iter().all(visible));
    let mut at = target.end + b" HTTP/1.1\r\n".len();
    let version = match &bytes[target.end..at] {
        b" HTTP/1.0\r\n" => Version::Http10,
        [
            b' ',
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            minor,
            b'\r',
            b'\n',
        ] => {
            assert!(minor.is_ascii_digit());
            Version::Http11
        }
        other => panic!("a version of {}", other.escape_ascii()),
    };
    assert_eq!(version, parsed.version);
    for (name, value) in &parsed.fields {
        assert_eq!(name.start, at);
        assert!(is_token(&bytes[name.clone()]));
        let colon = &bytes[name.end..value.start];
        assert!(colon.first() == Some(&b':') && blank(&colon[1..]));
        assert!(is_value(&bytes[value.clone()]));
        let len = bytes[value.end..]
            .iter()
            .position(|b| *b == b'\n')
            .expect("LF");
        at = value.end + len + 1;
        assert!(
            bytes[value.end..at]
                .strip_suffix(b"\r\n")
                .is_some_and(blank)
        );
    }
    assert_eq!(&bytes[at..parsed.end], b"\r\n");
}

/// HTTP/1.2 and above, which httparse refuses, written as 1.1, as which they are processed.
pub(crate) fn of_known_version(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let end = bytes.windows(2).position(|two| two == b"\r\n");
    if let Some(minor @ b'2'..=b'9') = end.and_then(|end| bytes[..end].last_mut()) {
        *minor = b'1';
    }
    bytes
}

fn is_that_of_httparse(parsed: &Parsed, bytes: &[u8]) {
    let bytes = &of_known_version(bytes)[..];
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let status = request.parse(bytes);
    assert_eq!(status, Ok(httparse::Status::Complete(parsed.end)));
    let text = |part: &Range<usize>| core::str::from_utf8(&bytes[part.clone()]).ok();
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
