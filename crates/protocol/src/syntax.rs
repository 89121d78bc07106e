//! Which bytes a token, field value or target may have.

/// Marks the bytes of `set` and those in `ranges`.
const fn table(set: &[u8], ranges: &[(u8, u8)]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < set.len() {
        table[set[i] as usize] = true;
        i += 1;
    }
    let mut i = 0;
    while i < ranges.len() {
        let mut b = ranges[i].0 as usize;
        while b <= ranges[i].1 as usize {
            table[b] = true;
            b += 1;
        }
        i += 1;
    }
    table
}

/// In [`classes`]: it may stand in the name of a field of HTTP/2, a token in lower case (RFC 9113 section
/// 8.2.1).
#[cfg(any(feature = "http2", feature = "http3"))]
pub(crate) const IN_NAME: u8 = 1;
/// In [`classes`]: it may stand in the value of a field.
#[cfg(any(feature = "http2", feature = "http3"))]
pub(crate) const IN_VALUE: u8 = 2;

/// The allowed positions of bytes in header fields.
#[cfg(any(feature = "http2", feature = "http3"))]
pub(crate) const fn classes(byte: u8) -> u8 {
    let name = TCHAR[byte as usize] && !byte.is_ascii_uppercase();
    let value = FIELD_VCHAR[byte as usize];
    let name = if name { IN_NAME } else { 0 };
    let value = if value { IN_VALUE } else { 0 };
    name | value
}

const ALNUM: [(u8, u8); 3] = [(b'0', b'9'), (b'a', b'z'), (b'A', b'Z')];

/// tchar (RFC 9110 section 5.6.2): methods and field names.
pub static TOKEN: [bool; 256] = TCHAR;
const TCHAR: [bool; 256] = table(b"!#$%&'*+-.^_`|~", &ALNUM);
/// field-vchar, SP and HTAB (RFC 9110 section 5.5).
static FIELD_VALUE: [bool; 256] = FIELD_VCHAR;
const FIELD_VCHAR: [bool; 256] = table(b"\t", &[(0x20, 0x7e), (0x80, 0xff)]);
/// The bytes of a request target: visible ASCII without `#`, which would begin a fragment, and a fragment is
/// never sent (RFC 9112 section 3.2). Other characters that RFC 3986 excludes are allowed, because browsers
/// send them in queries.
pub(crate) static TARGET: [bool; 256] = table(b"", &[(0x21, 0x22), (0x24, 0x7e)]);
/// The bytes of a request target before its query.
pub static PATH: [bool; 256] = table(b"@", &[(0x21, 0x22), (0x24, 0x3e), (0x41, 0x7e)]);
/// unreserved and sub-delims (RFC 3986 section 3.2.2).
static REG_NAME: [bool; 256] = table(b"-._~!$&'()*+,;=", &ALNUM);

/// The number of bytes at the front that are in the class.
#[inline(always)]
pub fn count(bytes: &[u8], class: &[bool; 256]) -> usize {
    let mut rest = bytes;
    while let Some((four, behind)) = rest.split_first_chunk::<4>() {
        for (i, &b) in four.iter().enumerate() {
            if !class[usize::from(b)] {
                return bytes.len() - rest.len() + i;
            }
        }
        rest = behind;
    }
    // Written as a loop: 14 instructions fewer for each request than the `position` of an iterator.
    while let [b, behind @ ..] = rest {
        if !class[usize::from(*b)] {
            break;
        }
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// The number of bytes at the front that a field name may have. It reads eight bytes at a time.
#[inline(always)]
pub(crate) fn count_name(bytes: &[u8]) -> usize {
    let (mut rest, mut at) = (bytes, 0);
    while let Some((eight, behind)) = rest.split_first_chunk() {
        let unusual = unusual_in_name(u64::from_le_bytes(*eight));
        if unusual != 0 {
            at += unusual.trailing_zeros() as usize / 8;
            return match bytes[at] {
                b':' => at,
                _ => at + count(&bytes[at..], &TOKEN),
            };
        }
        (rest, at) = (behind, at + 8);
    }
    at + count(rest, &TOKEN)
}

/// Not zero if one of the bytes is no letter and no `-`. Of the bytes of the result, the first that is not zero is exact.
const fn unusual_in_name(word: u64) -> u64 {
    let lower = word | (ONES * 0x20);
    // The high bit of a byte says: from `a` on; behind `z`; not `-`. A sum carries over from bytes above 0x7f only.
    let from_a = lower.wrapping_add(ONES * (0x80 - b'a' as u64));
    let behind_z = lower.wrapping_add(ONES * (0x7f - b'z' as u64));
    let no_dash = (word ^ (ONES * b'-' as u64)).wrapping_add(ONES * 0x7f) | word;
    no_dash & (!from_a | behind_z) & HIGH
}

/// For a literal the compiler evaluates this, in every crate: the table is a constant, because that of a static cannot be
/// seen outside of this crate.
#[inline(always)]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && count(bytes, &TCHAR) == bytes.len()
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// Not zero if a byte of `word` is below `limit` (at most 0x80). Single bytes of the result are not exact.
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGH
}

/// Not zero if a byte of `word` is `byte`. Single bytes of the result are not exact.
const fn holds(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

/// Not zero if one of the bytes is a control byte. Of the bytes of the result, the first that is not zero is exact.
const fn suspect(word: u64) -> u64 {
    below(word, 0x20) | holds(word, 0x7f)
}

/// The number of bytes at the front that are allowed in a field value (RFC 9110 section 5.5): no control byte
/// except HTAB, so no CR, LF or NUL. It reads eight bytes at a time, and more at once in a long value.
#[inline(always)]
pub(crate) fn count_field_value(bytes: &[u8]) -> usize {
    let (mut rest, mut at) = (bytes, 0);
    while let Some((two, behind)) = rest.split_first_chunk::<16>() {
        let word = |from: usize| {
            two[from..]
                .first_chunk()
                .map_or(0, |w| u64::from_le_bytes(*w))
        };
        let (first, second) = (suspect(word(0)), suspect(word(8)));
        // A borrow only affects later bytes, so the first match is certain.
        if first != 0 {
            return value_end(bytes, at + first.trailing_zeros() as usize / 8);
        }
        if second != 0 {
            return value_end(bytes, at + 8 + second.trailing_zeros() as usize / 8);
        }
        (rest, at) = (behind, at + 16);
        if at == LONG {
            return count_long_value(bytes);
        }
    }
    if let Some(word) = rest.first_chunk() {
        let suspect = suspect(u64::from_le_bytes(*word));
        match suspect {
            0 => (rest, at) = (&rest[8..], at + 8),
            _ => return value_end(bytes, at + suspect.trailing_zeros() as usize / 8),
        }
    }
    at + count(rest, &FIELD_VALUE)
}

/// From so many bytes on a value is long.
const LONG: usize = 96;

/// The value ends at `at`, unless HTAB is there, which is rare: then the rest is checked byte by byte.
#[inline(always)]
fn value_end(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        b'\t' => at + count(&bytes[at..], &FIELD_VALUE),
        _ => at,
    }
}

/// What [`count_field_value`] says of bytes of which the first [`LONG`] are allowed. A loop over 32 bytes, without a way
/// out, is what compilers make vector instructions of.
#[inline(never)]
fn count_long_value(bytes: &[u8]) -> usize {
    let mut rest = &bytes[LONG..];
    while let Some((block, behind)) = rest.split_first_chunk::<32>() {
        // True for ASCII from space to `~`: a value with other bytes is checked below.
        let is_usual = |byte: &u8| byte.wrapping_add(1) as i8 > 0x20;
        if !block.iter().fold(true, |all, byte| all & is_usual(byte)) {
            break;
        }
        rest = behind;
    }
    let mut at = bytes.len() - rest.len();
    for chunk in rest.chunks_exact(8) {
        let suspect = chunk
            .first_chunk()
            .map_or(0, |word| suspect(u64::from_le_bytes(*word)));
        if suspect != 0 {
            return value_end(bytes, at + suspect.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    at + count(&bytes[at..], &FIELD_VALUE)
}

/// Whether it may be the value of a field (RFC 9110 section 5.5).
#[inline]
pub fn is_field_value(bytes: &[u8]) -> bool {
    // A part of the last eight bytes may have been checked already.
    if let Some(last) = bytes.last_chunk() {
        let suspect = |bytes| suspect(u64::from_le_bytes(bytes));
        let words = bytes.chunks_exact(8).map(|chunk| chunk.try_into());
        let all = words.fold(suspect(*last), |all, word| all | word.map_or(0, suspect));
        if all == 0 {
            return true;
        }
    }
    is_rare_field_value(bytes)
}

/// A short value, or one with HTAB.
#[inline(never)]
fn is_rare_field_value(bytes: &[u8]) -> bool {
    count_field_value(bytes) == bytes.len()
}

/// Whether it is `uri-host [ ":" port ]` (RFC 9110 section 7.2), the value of a `Host` field. It may be
/// empty.
pub fn is_host(bytes: &[u8]) -> bool {
    let port = match bytes {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else {
                return false;
            };
            let Ok(address) = core::str::from_utf8(&rest[..end]) else {
                return false;
            };
            if address.parse::<core::net::Ipv6Addr>().is_err() {
                return false;
            }
            &rest[end + 1..]
        }
        _ => {
            let mut rest = &bytes[count(bytes, &REG_NAME)..];
            while let [b'%', a, b, after @ ..] = rest {
                if !a.is_ascii_hexdigit() || !b.is_ascii_hexdigit() {
                    return false;
                }
                rest = &after[count(after, &REG_NAME)..];
            }
            rest
        }
    };
    match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// `bytes` without the optional white space (RFC 9110 section 5.6.3) around it.
pub fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_start(bytes);
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// `bytes` without the optional white space before it.
pub fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list (RFC 9110 section 5.6.1), trimmed, empty ones included.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::EVERY;

    /// Every byte value, at every place of two words and a rest.
    fn matches(check: impl Fn(&[u8]) -> bool, expected: impl Fn(u8) -> bool) {
        for len in 1..20 {
            for at in 0..len {
                for byte in (0..=255).step_by(EVERY) {
                    for filler in [b'a', 0x7e] {
                        let mut bytes = vec![filler; len];
                        bytes[at] = byte;
                        assert_eq!(check(&bytes), expected(byte), "{byte:#x} at {at} of {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn field_values() {
        matches(is_field_value, |b| b == 9 || b >= 0x20 && b != 0x7f);
        for pair in (0..=u16::MAX).step_by(EVERY) {
            // Two neighbours: a borrow between bytes must not hide one of them.
            let [a, b] = pair.to_be_bytes();
            let ok = |b: u8| b == 9 || b >= 0x20 && b != 0x7f;
            let word = [b'x', a, b, b'x', b'x', a, b, b'x'];
            assert_eq!(is_field_value(&word), ok(a) && ok(b), "{a:#x} {b:#x}");
        }
        assert!(is_field_value(b""));
    }

    #[test]
    fn targets() {
        let all =
            |class: &'static [bool; 256]| move |bytes: &[u8]| count(bytes, class) == bytes.len();
        matches(all(&TARGET), |b| (0x21..0x7f).contains(&b) && b != b'#');
        matches(all(&PATH), |b| {
            (0x21..0x7f).contains(&b) && b != b'#' && b != b'?'
        });
    }

    #[test]
    fn tokens() {
        let separators = b"\"(),/:;<=>?@[\\]{}";
        matches(is_token, |b| {
            b.is_ascii_graphic() && !separators.contains(&b)
        });
        assert!(!is_token(b""));
    }

    /// Eight bytes, or 32, at once say what each of them says.
    #[test]
    fn the_ends_of_names_and_values() {
        let same = |bytes: &[u8]| {
            assert_eq!(count_name(bytes), count(bytes, &TOKEN), "{bytes:x?}");
            let slow = count(bytes, &FIELD_VALUE);
            assert_eq!(count_field_value(bytes), slow, "{bytes:x?}");
        };
        let lens = (0..20).chain([LONG - 1, LONG, LONG + 7, LONG + 32, LONG + 47, LONG + 99]);
        for len in lens {
            let near = |at: &usize| *at < 20 || at.abs_diff(LONG) < 2 || *at > LONG + 30;
            for at in (0..len).filter(near) {
                for byte in (0..=255).step_by(EVERY) {
                    for filler in [b'a', b'-', b'Z', b'9', 0xff] {
                        let mut bytes = vec![filler; len];
                        bytes[at] = byte;
                        same(&bytes);
                        // HTAB before it.
                        bytes[at / 2] = b'\t';
                        same(&bytes);
                    }
                }
            }
        }
        for pair in (0..=u16::MAX).step_by(EVERY) {
            // Two neighbours: what one carries over must not hide the other.
            let [a, b] = pair.to_be_bytes();
            same(&[b'x', a, b, b'x', b'x', b'x', b'x', b':']);
            same(&[&[a, b], &[b'x'; LONG + 40][..], &[b, a, b'\r', b'\n']].concat());
        }
    }

    #[test]
    fn hosts() {
        for good in [
            "",
            "a",
            "example.org",
            "example.org:80",
            "example.org:",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "a%20b",
            "xn--nxasmq6b",
            "a_b",
            "[::ffff:1.2.3.4]",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b", "a/b", "user@a", "a:b", "a:1:2", "[::1", "::1", "[::1]x", "[]", "[zz]", "a?b",
            "a#b", "a\\b", "h\u{e9}", "[::1]:x", "a,b:x", "a%", "a%2", "a%2g",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn trimming_and_lists() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        let elements: Vec<_> = list(b"a, b ,,c").collect();
        assert_eq!(elements, [&b"a"[..], b"b", b"", b"c"]);
    }
}
