//! Reason phrases, dates and numbers.

use alloc::vec::Vec;

/// All statuses with a reason phrase in RFC 9110 and its extensions.
macro_rules! reasons {
    ($($status:literal $reason:literal,)*) => {
        /// The reason phrase; empty for a status without a name, which RFC 9112 section 4 allows.
        pub fn reason(status: u16) -> &'static str {
            match status { $($status => $reason,)* _ => "" }
        }
    };
}

reasons! {
    100 "Continue", 101 "Switching Protocols", 102 "Processing", 103 "Early Hints",
    200 "OK", 201 "Created", 202 "Accepted", 203 "Non-Authoritative Information", 204 "No Content",
    205 "Reset Content", 206 "Partial Content", 207 "Multi-Status", 208 "Already Reported", 226 "IM Used",
    300 "Multiple Choices", 301 "Moved Permanently", 302 "Found", 303 "See Other", 304 "Not Modified",
    305 "Use Proxy", 307 "Temporary Redirect", 308 "Permanent Redirect",
    400 "Bad Request", 401 "Unauthorized", 402 "Payment Required", 403 "Forbidden", 404 "Not Found",
    405 "Method Not Allowed", 406 "Not Acceptable", 407 "Proxy Authentication Required", 408 "Request Timeout",
    409 "Conflict", 410 "Gone", 411 "Length Required", 412 "Precondition Failed", 413 "Content Too Large",
    414 "URI Too Long", 415 "Unsupported Media Type", 416 "Range Not Satisfiable", 417 "Expectation Failed",
    421 "Misdirected Request", 422 "Unprocessable Content", 423 "Locked", 424 "Failed Dependency", 425 "Too Early",
    426 "Upgrade Required", 428 "Precondition Required", 429 "Too Many Requests",
    431 "Request Header Fields Too Large", 451 "Unavailable For Legal Reasons",
    500 "Internal Server Error", 501 "Not Implemented", 502 "Bad Gateway", 503 "Service Unavailable",
    504 "Gateway Timeout", 505 "HTTP Version Not Supported", 506 "Variant Also Negotiates",
    507 "Insufficient Storage", 508 "Loop Detected", 511 "Network Authentication Required",
}

/// Digits of the largest `u64`.
pub const MAX_DIGITS: usize = 20;

/// Writes `n` in decimal at the end of `room`.
#[inline]
pub fn digits(mut n: u64, room: &mut [u8; MAX_DIGITS]) -> &[u8] {
    let mut at = MAX_DIGITS;
    loop {
        at -= 1;
        room[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &room[at..];
        }
    }
}

/// Appends `n` in decimal.
#[inline]
pub fn decimal(n: u64, out: &mut Vec<u8>) {
    match n {
        // Most responses of a busy server have short bodies.
        0..10 => out.push(b'0' + n as u8),
        10..100 => out.extend_from_slice(&[b'0' + (n / 10) as u8, b'0' + (n % 10) as u8]),
        _ => out.extend_from_slice(digits(n, &mut [0; MAX_DIGITS])),
    }
}

/// `1994-11-06T08:49:37Z` (RFC 3339 section 5.6) for seconds since 1970, up to the year 9999.
///
/// ```
/// let time = peregrine_protocol::http::encode::timestamp(784_111_777);
/// assert_eq!(&time, b"1994-11-06T08:49:37Z");
/// ```
pub fn timestamp(unix: u64) -> [u8; 20] {
    let (year, month, day) = civil(unix);
    let mut time = *b"1970-01-01T00:00:00Z";
    let mut two = |at: usize, n: u64| {
        time[at] = b'0' + (n / 10 % 10) as u8;
        time[at + 1] = b'0' + (n % 10) as u8;
    };
    two(0, year / 100);
    two(2, year % 100);
    two(5, (month + 2) % 12 + 1);
    two(8, day);
    two(11, unix / 3600 % 24);
    two(14, unix / 60 % 60);
    two(17, unix % 60);
    time
}

/// Length of [`date`].
pub const DATE_LEN: usize = 29;

/// `Sun, 06 Nov 1994 08:49:37 GMT` (IMF-fixdate, RFC 9110 section 5.6.7) for seconds since 1970.
pub fn date(unix: u64) -> [u8; DATE_LEN] {
    let (year, month, day) = civil(unix);
    let name = |names: &'static [u8], i: u64| &names[i as usize * 3..i as usize * 3 + 3];

    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let mut two = |at: usize, n: u64| {
        date[at] = b'0' + (n / 10 % 10) as u8;
        date[at + 1] = b'0' + (n % 10) as u8;
    };
    two(5, day);
    two(12, year / 100);
    two(14, year % 100);
    two(17, unix / 3600 % 24);
    two(20, unix / 60 % 60);
    two(23, unix % 60);
    // 1970 began on a Thursday.
    date[..3].copy_from_slice(name(b"ThuFriSatSunMonTueWed", unix / 86_400 % 7));
    date[8..11].copy_from_slice(name(b"MarAprMayJunJulAugSepOctNovDecJanFeb", month));
    date
}

/// Year, month and day; month 0 is March.
fn civil(unix: u64) -> (u64, u64, u64) {
    // Counted from 1 March 0000, so that the leap day is the last of its year; an era is 400 years.
    let days = unix / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::EVERY;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates_are_those_of_httpdate() {
        let day = 86_400;
        // Every day from 1970 to 2399, and a second at each end of it.
        for unix in (0..157_000).step_by(EVERY * EVERY).flat_map(|d| {
            [
                d * day,
                d * day + 8 * 3600 + 49 * 60 + 37,
                d * day + day - 1,
            ]
        }) {
            let expected = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix));
            assert_eq!(core::str::from_utf8(&date(unix)).expect("ASCII"), expected);
            let time = timestamp(unix);
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month = months.find(&expected[8..11]).expect("a month") / 3 + 1;
            let (day, year, clock) = (&expected[5..7], &expected[12..16], &expected[17..25]);
            let expected = format!("{year}-{month:02}-{day}T{clock}Z");
            assert_eq!(core::str::from_utf8(&time).expect("ASCII"), expected);
        }
    }

    #[test]
    fn numbers() {
        for n in (0..2000)
            .step_by(EVERY)
            .chain([u64::MAX, u64::MAX - 1, 1 << 32])
        {
            let mut out = Vec::new();
            decimal(n, &mut out);
            assert_eq!(out, n.to_string().as_bytes());
        }
    }

    #[test]
    fn every_refusal_has_a_reason_phrase() {
        for error in crate::error::ProtocolError::ALL {
            assert!(!reason(error.status()).is_empty(), "{error:?}");
        }
    }
}
