//! Conditional requests (RFC 9110 section 13).

use crate::http::request::Request;
use httpdate::parse_http_date;
use std::time::UNIX_EPOCH;

/// What identifies a version of a representation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validators<'a> {
    /// A strong entity tag with its quotes.
    pub(crate) etag: &'a str,
    /// Seconds since 1970.
    pub(crate) modified: Option<u64>,
}

/// The outcome of the conditions of a GET or HEAD request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Respond as if there were no conditions.
    Perform,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates steps 1 to 4.
pub(crate) fn judge(req: &Request<'_>, have: Validators<'_>) -> Verdict {
    // Steps 1 and 2: a date is ignored beside a list of tags.
    if has(req, "if-match") {
        if !lists(req, "if-match", have.etag, Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if let (Some(date), Some(modified)) = (date(req, "if-unmodified-since"), have.modified) {
        if modified > date {
            return Verdict::Failed;
        }
    }
    // Steps 3 and 4: likewise.
    let is_known = if has(req, "if-none-match") {
        lists(req, "if-none-match", have.etag, Comparison::Weak)
    } else {
        match (date(req, "if-modified-since"), have.modified) {
            (Some(date), Some(modified)) => modified <= date,
            _ => false,
        }
    };
    match is_known {
        true => Verdict::NotModified,
        false => Verdict::Perform,
    }
}

/// Step 5: whether `Range` applies. `now` is in seconds since 1970.
pub(crate) fn allows_range(req: &Request<'_>, have: Validators<'_>, now: u64) -> bool {
    let mut fields = req.header_all("if-range");
    let Some(condition) = fields.next() else {
        return true;
    };
    if fields.next().is_some() {
        return false;
    }
    if condition.ends_with(b"\"") {
        return condition == have.etag.as_bytes();
    }
    // RFC 9110 section 8.8.2.2: the file may have changed twice within one second.
    match (parse_date(condition), have.modified) {
        (Some(date), Some(modified)) => date == modified && now > modified,
        _ => false,
    }
}

pub(crate) fn has(req: &Request<'_>, name: &str) -> bool {
    req.header_all(name).next().is_some()
}

/// The date in a field. `None` if the field is missing, is present twice, or cannot be parsed.
fn date(req: &Request<'_>, name: &str) -> Option<u64> {
    let mut fields = req.header_all(name);
    let date = fields.next()?;
    match fields.next() {
        None => parse_date(date),
        Some(_) => None,
    }
}

fn parse_date(date: &[u8]) -> Option<u64> {
    let date = parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// How entity tags are compared (RFC 9110 section 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// A weak tag matches nothing.
    Strong,
    Weak,
}

/// Whether a field with `*` or a list of entity tags matches `etag`.
fn lists(req: &Request<'_>, name: &str, etag: &str, comparison: Comparison) -> bool {
    req.header_all(name)
        .any(|line| line == b"*" || line_lists(line, etag, comparison))
}

/// Reads the list up to the first error in its syntax.
fn line_lists(mut line: &[u8], etag: &str, comparison: Comparison) -> bool {
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
        if tag == etag.as_bytes() && !(is_weak && comparison == Comparison::Strong) {
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
