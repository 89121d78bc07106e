//! The response to a request for a file: conditions, ranges, codings.

use super::conditional;
use super::conditional::Verdict;
use super::range::Ranges;
use super::resource::{Resource, Variant};
use crate::http::content_coding::AcceptedCodings;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::shared::output::Output;
use crate::shared::random_text;
use peregrine_protocol::field_line;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Which of the header fields that matter here a request has. Most requests have `Accept-Encoding` only.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    accept_encoding: bool,
    condition: bool,
    range: bool,
}

impl Asked {
    /// Compares length and first letters only. A false match costs a second look; no field is missed.
    fn of(req: &Request<'_>) -> Asked {
        let mut asked = Asked::default();
        for name in req.field_names() {
            match name.len() {
                5 => asked.range |= name.eq_ignore_ascii_case(b"range"),
                8 | 13 | 17 | 19 => asked.condition |= name[0] | 0x20 == b'i',
                15 => asked.accept_encoding |= name.eq_ignore_ascii_case(b"accept-encoding"),
                _ => {}
            }
        }
        asked
    }
}

/// Responds to a GET or HEAD request with the resource, in the form that suits this client.
pub(crate) fn send(
    resource: &Resource,
    req: &Request<'_>,
    res: Response<'_>,
    max_ranges: usize,
) -> Done {
    let asked = Asked::of(req);
    let variant = chosen(resource, req, asked.accept_encoding);
    if asked.condition {
        match conditional::judge(req, variant.validators()) {
            Verdict::Perform => {}
            Verdict::NotModified => return res.status(304).fields(variant.again()).body(""),
            Verdict::Failed => return res.status(412).text("the file has changed\n"),
        }
    }
    // RFC 9110 section 14.2: only for GET.
    if asked.range && req.method() == "GET" {
        let mut fields = req.header_all("range");
        if let (Some(field), None) = (fields.next(), fields.next()) {
            let ranges = Ranges::parse(field, variant.prepared.len(), max_ranges);
            let counts = || conditional::allows_range(req, variant.validators(), now());
            if ranges != Ranges::Whole && counts() {
                let has_fields = conditional::has(req, "if-range");
                return partial(variant, ranges, has_fields, res);
            }
        }
    }
    res.send_prepared_below(&variant.prepared)
}

/// Responds with the whole resource and another status: the page of an error.
pub(crate) fn page(resource: &Resource, status: u16, req: &Request<'_>, res: Response<'_>) -> Done {
    let variant = chosen(resource, req, true);
    let prepared = &variant.prepared;
    let mut fields = variant.kind.clone();
    if resource.variants.len() > 1 {
        fields.extend_from_slice(field_line!("Vary", "Accept-Encoding"));
    }
    res.status(status)
        .fields(&fields)
        .send_pieces(prepared.len(), |output| prepared.push(output))
}

fn chosen<'r>(resource: &'r Resource, req: &Request<'_>, says: bool) -> &'r Variant {
    if resource.variants.len() == 1 || !says {
        return &resource.variants[0];
    }
    let mut lines = req.header_all("accept-encoding").peekable();
    let accepted = lines
        .peek()
        .is_some()
        .then(|| AcceptedCodings::parse(lines));
    resource.choose(accepted.as_ref())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs())
}

/// 206 or 416 (RFC 9110 sections 15.3.7 and 15.5.17). `has_fields`: the client has sent `If-Range`, so it has
/// an earlier part and the header fields of that.
fn partial(variant: &Variant, ranges: Ranges, has_fields: bool, res: Response<'_>) -> Done {
    let prepared = &variant.prepared;
    let whole = prepared.len();
    match ranges {
        Ranges::Whole => res.send_prepared_below(prepared),
        Ranges::Unsatisfiable => res
            .status(416)
            .header("Content-Range", format!("bytes */{whole}"))
            .text("the file has no such range\n"),
        Ranges::One(range) => res
            .status(206)
            .fields(&part_fields(variant, has_fields))
            .header("Content-Range", content_range(&range, whole))
            .send_pieces(range.end - range.start, |output| {
                prepared.push_range(range, output);
            }),
        Ranges::Several(ranges) => several(variant, ranges, has_fields, res),
    }
}

/// The header fields of a 206, except those for the range and the length.
fn part_fields(variant: &Variant, has_fields: bool) -> Vec<u8> {
    match has_fields {
        true => variant.again().to_vec(),
        false => [&variant.kind, variant.common()].concat(),
    }
}

fn content_range(range: &Range<u64>, whole: u64) -> String {
    format!("bytes {}-{}/{whole}", range.start, range.end - 1)
}

/// A response with several ranges (RFC 9110 section 14.6).
fn several(
    variant: &Variant,
    ranges: Vec<Range<u64>>,
    has_fields: bool,
    res: Response<'_>,
) -> Done {
    let (prepared, kind) = (&variant.prepared, &variant.content_type);
    let boundary = random_text::unique();
    let head = |range: &Range<u64>| {
        let place = content_range(range, prepared.len());
        format!("--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {place}\r\n\r\n")
    };
    let end = format!("--{boundary}--\r\n");
    let parts: Vec<(String, Range<u64>)> = ranges.into_iter().map(|r| (head(&r), r)).collect();
    let lens = parts
        .iter()
        .map(|(head, range)| head.len() as u64 + (range.end - range.start) + 2);
    let len = lens.sum::<u64>() + end.len() as u64;
    let push = |output: &mut Output| {
        for (head, range) in parts {
            output.push(head.as_bytes());
            prepared.push_range(range, output);
            output.push(b"\r\n");
        }
        output.push(end.as_bytes());
    };
    let kind = format!("multipart/byteranges; boundary={boundary}");
    res.status(206)
        .fields(&part_fields(variant, has_fields))
        .header("Content-Type", kind)
        .send_pieces(len, push)
}
