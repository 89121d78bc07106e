//! Conditional requests (RFC 9110 section 13).

use crate::http::entity_tag;
use crate::http::entity_tag::Comparison;
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

/// Whether a field with `*` or a list of entity tags matches `etag`.
fn lists(req: &Request<'_>, name: &str, etag: &str, comparison: Comparison) -> bool {
    req.header_all(name)
        .any(|line| entity_tag::is_listed(line, etag.as_bytes(), comparison))
}
