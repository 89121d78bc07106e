//! The static table (RFC 9204 section 3.1 and appendix A).

use crate::field_section::static_table::{Index, Row, row};

/// Entries of the static table; the first one has the index 0.
pub(super) const STATIC: usize = 99;

/// RFC 9204 appendix A.
pub(super) static ROWS: [Row; STATIC] = [
    row!(":authority", ""),
    row!(":path", "/"),
    row!("age", "0"),
    row!("content-disposition", ""),
    row!("content-length", "0"),
    row!("cookie", ""),
    row!("date", ""),
    row!("etag", ""),
    row!("if-modified-since", ""),
    row!("if-none-match", ""),
    row!("last-modified", ""),
    row!("link", ""),
    row!("location", ""),
    row!("referer", ""),
    row!("set-cookie", ""),
    row!(":method", "CONNECT"),
    row!(":method", "DELETE"),
    row!(":method", "GET"),
    row!(":method", "HEAD"),
    row!(":method", "OPTIONS"),
    row!(":method", "POST"),
    row!(":method", "PUT"),
    row!(":scheme", "http"),
    row!(":scheme", "https"),
    row!(":status", "103"),
    row!(":status", "200"),
    row!(":status", "304"),
    row!(":status", "404"),
    row!(":status", "503"),
    row!("accept", "*/*"),
    row!("accept", "application/dns-message"),
    row!("accept-encoding", "gzip, deflate, br"),
    row!("accept-ranges", "bytes"),
    row!("access-control-allow-headers", "cache-control"),
    row!("access-control-allow-headers", "content-type"),
    row!("access-control-allow-origin", "*"),
    row!("cache-control", "max-age=0"),
    row!("cache-control", "max-age=2592000"),
    row!("cache-control", "max-age=604800"),
    row!("cache-control", "no-cache"),
    row!("cache-control", "no-store"),
    row!("cache-control", "public, max-age=31536000"),
    row!("content-encoding", "br"),
    row!("content-encoding", "gzip"),
    row!("content-type", "application/dns-message"),
    row!("content-type", "application/javascript"),
    row!("content-type", "application/json"),
    row!("content-type", "application/x-www-form-urlencoded"),
    row!("content-type", "image/gif"),
    row!("content-type", "image/jpeg"),
    row!("content-type", "image/png"),
    row!("content-type", "text/css"),
    row!("content-type", "text/html; charset=utf-8"),
    row!("content-type", "text/plain"),
    row!("content-type", "text/plain;charset=utf-8"),
    row!("range", "bytes=0-"),
    row!("strict-transport-security", "max-age=31536000"),
    row!(
        "strict-transport-security",
        "max-age=31536000; includesubdomains"
    ),
    row!(
        "strict-transport-security",
        "max-age=31536000; includesubdomains; preload"
    ),
    row!("vary", "accept-encoding"),
    row!("vary", "origin"),
    row!("x-content-type-options", "nosniff"),
    row!("x-xss-protection", "1; mode=block"),
    row!(":status", "100"),
    row!(":status", "204"),
    row!(":status", "206"),
    row!(":status", "302"),
    row!(":status", "400"),
    row!(":status", "403"),
    row!(":status", "421"),
    row!(":status", "425"),
    row!(":status", "500"),
    row!("accept-language", ""),
    row!("access-control-allow-credentials", "FALSE"),
    row!("access-control-allow-credentials", "TRUE"),
    row!("access-control-allow-headers", "*"),
    row!("access-control-allow-methods", "get"),
    row!("access-control-allow-methods", "get, post, options"),
    row!("access-control-allow-methods", "options"),
    row!("access-control-expose-headers", "content-length"),
    row!("access-control-request-headers", "content-type"),
    row!("access-control-request-method", "get"),
    row!("access-control-request-method", "post"),
    row!("alt-svc", "clear"),
    row!("authorization", ""),
    row!(
        "content-security-policy",
        "script-src 'none'; object-src 'none'; base-uri 'none'"
    ),
    row!("early-data", "1"),
    row!("expect-ct", ""),
    row!("forwarded", ""),
    row!("if-range", ""),
    row!("origin", ""),
    row!("purpose", "prefetch"),
    row!("server", ""),
    row!("timing-allow-origin", "*"),
    row!("upgrade-insecure-requests", "1"),
    row!("user-agent", ""),
    row!("x-forwarded-for", ""),
    row!("x-frame-options", "deny"),
    row!("x-frame-options", "sameorigin"),
];

pub(super) static INDEX: Index<STATIC> = Index::of(&ROWS);

/// By row: the next one of the same name, or 0.
static NEXT: [u8; STATIC] = INDEX.followers(&ROWS);

/// What the static table has of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An entry with this name and value.
    Field(usize),
    /// An entry with this name.
    Name(usize),
    Nothing,
}

/// What the table has of a field whose name is in lower case.
#[inline]
pub(super) fn find(name: &[u8], value: &[u8]) -> Found {
    let Some(first) = INDEX.row_of(&ROWS, name) else {
        return Found::Nothing;
    };
    let mut row = first;
    loop {
        if &ROWS[row].bytes()[name.len()..] == value {
            return Found::Field(row);
        }
        row = match NEXT[row] {
            0 => return Found::Name(first),
            next => usize::from(next),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field_section::name::Kind;

    #[test]
    fn every_row_is_found() {
        for (i, row) in ROWS.iter().enumerate() {
            let (name, value) = (row.name(), &row.bytes()[row.name().len()..]);
            assert_eq!(find(name, value), Found::Field(i));
            let first = ROWS.iter().position(|other| other.name() == name);
            assert_eq!(
                Some(find(name, b"?")),
                first.map(Found::Name),
                "{}",
                row.text
            );
            assert_eq!(INDEX.kinds[i], Kind::of(name), "{}", row.text);
        }
        for name in ["", "x", "agf", ":statu", "access-control-allow-origim"] {
            assert_eq!(find(name.as_bytes(), b""), Found::Nothing, "{name}");
        }
        assert_eq!(find(&[b'a'; 33], b""), Found::Nothing);
    }
}
