//! Integers with a prefix (RFC 7541 section 5.1, RFC 9204 section 4.1.1).

use super::CodingError;
use alloc::vec::Vec;

/// Bytes behind the prefix that an integer may have: 63 bits, and QPACK needs 62.
const MOST: usize = 9;

/// The integer at the front of `bytes` whose first byte has `prefix` bits of it, and its length. `None`: it
/// is not complete.
///
/// # Errors
///
/// [`CodingError::Integer`] if it has more than ten bytes, zeros at its end included.
#[inline(always)]
pub(crate) fn decode(bytes: &[u8], prefix: u32) -> Result<Option<(u64, usize)>, CodingError> {
    let Some((first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let most = u8::MAX >> (8 - prefix);
    match first & most {
        small if small < most => Ok(Some((u64::from(small), 1))),
        _ => decode_rest(rest, u64::from(most)),
    }
}

#[inline(never)]
fn decode_rest(rest: &[u8], mut value: u64) -> Result<Option<(u64, usize)>, CodingError> {
    for (i, byte) in rest.iter().take(MOST).enumerate() {
        value += u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 2)));
        }
    }
    match rest.len() < MOST {
        true => Ok(None),
        false => Err(CodingError::Integer),
    }
}

/// Appends an integer. `first` has the bits of the first byte that are not of the prefix.
#[inline]
pub(crate) fn encode(value: u64, prefix: u32, first: u8, out: &mut Vec<u8>) {
    let most = u8::MAX >> (8 - prefix);
    if value < u64::from(most) {
        return out.push(first | value as u8);
    }
    out.push(first | most);
    let mut rest = value - u64::from(most);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: u64, prefix: u32) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, prefix, 0, &mut out);
        out
    }

    #[test]
    fn rfc_7541_appendix_c_1() {
        assert_eq!(encoded(10, 5), [0b01010]);
        assert_eq!(encoded(1337, 5), [0b11111, 0b1001_1010, 0b0000_1010]);
        assert_eq!(encoded(42, 8), [42]);
        assert_eq!(
            decode(&[0b1111_1111, 0b1001_1010, 10], 5),
            Ok(Some((1337, 3)))
        );
    }

    #[test]
    fn every_prefix_and_every_length() {
        let edges = (0..63).map(|bits| 1u64 << bits);
        let values = edges.flat_map(|edge| [edge - 1, edge, edge + 1]);
        for value in values.chain([0, 1337, (1 << 62) - 1]) {
            for prefix in 1..=8 {
                let mut bytes = encoded(value, prefix);
                let len = bytes.len();
                for cut in 0..len {
                    assert_eq!(decode(&bytes[..cut], prefix), Ok(None), "{value} {prefix}");
                }
                bytes.push(0xff);
                bytes[0] |= !(u8::MAX >> (8 - prefix));
                assert_eq!(
                    decode(&bytes, prefix),
                    Ok(Some((value, len))),
                    "{value} {prefix}"
                );
            }
        }
    }

    #[test]
    fn zeros_at_the_end_are_bounded() {
        let mut bytes = [0x80; 12];
        bytes[0] = 0xff;
        assert_eq!(decode(&bytes, 7), Err(CodingError::Integer));
        assert_eq!(decode(&bytes[..9], 7), Ok(None));
        bytes[9] = 0;
        assert_eq!(decode(&bytes, 7), Ok(Some((127, 10))));
    }
}
