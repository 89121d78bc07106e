//! Byte ranges (RFC 9110 section 14).

use std::ops::Range;

/// What a `Range` field asks of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// No range, or one that is not valid or not granted: send the whole.
    Whole,
    /// No requested range lies within the representation: 416.
    Unsatisfiable,
    One(Range<u64>),
    /// Two or more, in the order of the request.
    Several(Vec<Range<u64>>),
}

impl Ranges {
    /// Parses `field`, the only `Range` field, for a representation of `len` bytes.
    ///
    /// The result is `Whole` for more than `most` ranges, and for ranges that overlap so much that their sum
    /// is longer than the whole. No reasonable client sends these (RFC 9110 section 14.2).
    pub(crate) fn parse(field: &[u8], len: u64, most: usize) -> Ranges {
        let Some(set) = unit(field) else {
            return Ranges::Whole;
        };
        let mut ranges = Vec::new();
        let mut count = 0;
        for spec in set.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            // RFC 9110 section 5.6.1.2: empty elements of a list are ignored.
            if spec.is_empty() {
                continue;
            }
            count += 1;
            if count > most {
                return Ranges::Whole;
            }
            match range(spec, len) {
                None => return Ranges::Whole,
                Some(range) if range.is_empty() => {}
                Some(range) => ranges.push(range),
            }
        }
        let total: u64 = ranges
            .iter()
            .fold(0, |sum, r| sum.saturating_add(r.end - r.start));
        match (count, ranges.len()) {
            (0, _) => Ranges::Whole,
            (_, 0) => Ranges::Unsatisfiable,
            (_, 1) => Ranges::One(ranges.remove(0)),
            _ if total > len => Ranges::Whole,
            _ => Ranges::Several(ranges),
        }
    }
}

/// The part after `bytes=`. `None` for another unit.
fn unit(field: &[u8]) -> Option<&[u8]> {
    let (unit, set) = field.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// One range of a set: empty if it lies outside, `None` if it is malformed.
fn range(spec: &[u8], len: u64) -> Option<Range<u64>> {
    let dash = spec.iter().position(|&b| b == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    match (first, last) {
        (b"", suffix) => Some(len.saturating_sub(number(suffix)?)..len),
        (first, b"") => Some(number(first)?.min(len)..len),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            let end = last.saturating_add(1).min(len);
            (first <= last).then_some(first.min(end)..end)
        }
    }
}

/// A number of digits only. A value that is too large becomes the largest number.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |n: u64, d| {
        n.saturating_mul(10).saturating_add(u64::from(d - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        use Ranges::{One, Unsatisfiable, Whole};
        let parse = |field: &str| Ranges::parse(field.as_bytes(), 100, 4);
        for (field, expected) in [
            ("bytes=0-0", One(0..1)),
            ("bytes=0-99", One(0..100)),
            ("bytes=0-100", One(0..100)),
            ("bytes=0-99999999999999999999999", One(0..100)),
            ("bytes=99-", One(99..100)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200", Unsatisfiable),
            ("bytes=-1", One(99..100)),
            ("bytes=-100", One(0..100)),
            ("bytes=-1000", One(0..100)),
            ("bytes=-0", Unsatisfiable),
            ("BYTES=1-2", One(1..3)),
            ("bytes= 1-2 ", One(1..3)),
            ("bytes=1-2,", One(1..3)),
            ("bytes=1-2,200-", One(1..3)),
            ("bytes=200-,300-", Unsatisfiable),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("bytes=2-1", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=1", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1--2", Whole),
            ("bytes=1 - 2", Whole),
            ("bytes =1-2", Whole),
            ("lines=1-2", Whole),
            ("bytes=0-0,1-1,2-2,3-3,4-4", Whole),
            ("bytes=0-,0-", Whole),
        ] {
            assert_eq!(parse(field), expected, "{field}");
        }
        assert_eq!(
            parse("bytes=5-6,0-1 , -1"),
            Ranges::Several(vec![5..7, 0..2, 99..100])
        );
    }

    #[test]
    fn of_nothing_there_is_no_part() {
        for field in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
            assert_eq!(Ranges::parse(field.as_bytes(), 0, 4), Ranges::Unsatisfiable);
        }
    }
}
