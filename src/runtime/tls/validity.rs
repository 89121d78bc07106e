//! From when until when a certificate is valid (RFC 5280 section 4.1.2.5).

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// Now, in seconds since 1970.
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() as i64)
}

// Tags of DER (ITU-T X.690).
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

impl Validity {
    /// That of a certificate in DER. `None` if it cannot be read.
    pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
        let certificate = &mut { certificate };
        let mut certificate = expect(SEQUENCE, certificate)?;
        let mut signed = expect(SEQUENCE, &mut certificate)?;
        if signed.first() == Some(&VERSION) {
            next(&mut signed)?;
        }
        expect(INTEGER, &mut signed)?;
        let (_algorithm, _issuer) = (next(&mut signed)?, next(&mut signed)?);
        let mut validity = expect(SEQUENCE, &mut signed)?;
        Some(Validity {
            not_before: time(next(&mut validity)?)?,
            not_after: time(next(&mut validity)?)?,
        })
    }

    /// Why clients refuse the certificate at this time, if they do.
    pub(super) fn problem(self, now: i64) -> Option<&'static str> {
        match now {
            now if now > self.not_after => Some("has expired"),
            now if now < self.not_before => Some("is not valid yet"),
            _ => None,
        }
    }
}

/// Takes a value of DER from the front of `bytes`: its tag and its content.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let [tag, len, rest @ ..] = *bytes else {
        return None;
    };
    let (len, rest) = match *len {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let len = (digits.len() <= 3).then(|| {
                let digits = digits.iter();
                digits.fold(0, |len, digit| len << 8 | usize::from(*digit))
            });
            (len?, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some((*tag, content))
}

fn expect<'a>(tag: u8, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (found, content) = next(bytes)?;
    (found == tag).then_some(content)
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ` in seconds since 1970.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = text.strip_suffix(b"Z")?;
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    let digits = text.iter().map(digit).collect::<Option<Vec<_>>>()?;
    let (year, rest) = match (tag, &digits[..]) {
        (UTC_TIME, [a, b, rest @ ..]) => {
            let year = a * 10 + b;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        (GENERALIZED_TIME, [a, b, c, d, rest @ ..]) => (a * 1000 + b * 100 + c * 10 + d, rest),
        _ => return None,
    };
    let &[m, n, d, e, h, i, p, q, s, t] = rest else {
        return None;
    };
    let days = days(year, m * 10 + n, d * 10 + e);
    Some(days * 86_400 + (h * 10 + i) * 3600 + (p * 10 + q) * 60 + s * 10 + t)
}

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at the end.
    let (year, month) = match month {
        ..=2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + leap_days + days_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_both_forms() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "941106084937Z", Some(784_111_777)),
            (UTC_TIME, "000229235959Z", Some(951_868_799)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "9411060849Z", None),
            (UTC_TIME, "941106084937", None),
            (UTC_TIME, "94110608493xZ", None),
            (GENERALIZED_TIME, "941106084937Z", None),
            (INTEGER, "941106084937Z", None),
        ] {
            assert_eq!(time((tag, text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn a_certificate_is_valid_within_its_times() {
        let validity = Validity {
            not_before: 100,
            not_after: 200,
        };
        let problems = [99, 100, 200, 201].map(|now| validity.problem(now));
        assert_eq!(
            problems,
            [Some("is not valid yet"), None, None, Some("has expired")]
        );
    }

    #[cfg(feature = "tls-self-signed")]
    #[test]
    fn the_times_of_a_certificate_and_of_its_halves() {
        let (certificate, _) = super::super::self_signed::make(&["a"]).expect("a certificate");
        let validity = Validity::of(&certificate).expect("times");
        assert_eq!(validity.not_after - validity.not_before, 366 * 86_400);
        let now = std::time::SystemTime::now();
        let now = now
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970");
        assert_eq!(validity.problem(now.as_secs() as i64), None);
        for len in 0..certificate.len() {
            assert_eq!(Validity::of(&certificate[..len]), None, "{len}");
        }
    }
}
