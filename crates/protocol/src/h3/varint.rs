//! Integers of variable length (RFC 9000 section 16).

use alloc::vec::Vec;

/// The largest one.
pub const MAX: u64 = (1 << 62) - 1;

/// The longest one, in bytes.
pub const LONGEST: usize = 8;

/// The integer at the front of `bytes`, and its length. `None`: it is not complete.
///
/// ```
/// # use peregrine_protocol::h3::varint;
/// assert_eq!(varint::decode(&[0x7b, 0xbd, 0xff]), Some((15_293, 2)));
/// assert_eq!(varint::decode(&[0x7b]), None);
/// ```
#[inline]
pub fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    match first >> 6 {
        0 => Some((u64::from(first), 1)),
        1 => {
            let both = bytes.first_chunk::<2>()?;
            Some((u64::from(u16::from_be_bytes(*both) & 0x3fff), 2))
        }
        2 => {
            let four = bytes.first_chunk::<4>()?;
            Some((u64::from(u32::from_be_bytes(*four) & 0x3fff_ffff), 4))
        }
        _ => {
            let eight = bytes.first_chunk::<8>()?;
            Some((u64::from_be_bytes(*eight) & MAX, 8))
        }
    }
}

/// Appends an integer in its shortest form. Above [`MAX`] it is that.
#[inline]
pub fn encode(value: u64, out: &mut Vec<u8>) {
    let value = value.min(MAX);
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend_from_slice(&(value as u16 | 1 << 14).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(value as u32 | 2 << 30).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 3 << 62).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9000_appendix_a_1() {
        for (bytes, value) in [
            (
                &b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"[..],
                151_288_809_941_952_652,
            ),
            (b"\x9d\x7f\x3e\x7d", 494_878_333),
            (b"\x7b\xbd", 15_293),
            (b"\x25", 37),
        ] {
            let mut out = Vec::new();
            encode(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(decode(bytes), Some((value, bytes.len())));
        }
        assert_eq!(decode(b"\x40\x25"), Some((37, 2)));
    }

    #[test]
    fn every_length_and_every_cut() {
        let edges = (0..62).map(|bits| 1u64 << bits);
        let values = edges.flat_map(|edge| [edge - 1, edge, edge + 1]);
        for value in values.chain([MAX - 1, MAX]) {
            let mut bytes = Vec::new();
            encode(value, &mut bytes);
            let len = bytes.len();
            assert!(
                (0..len).all(|cut| decode(&bytes[..cut]).is_none()),
                "{value}"
            );
            bytes.push(0xff);
            assert_eq!(decode(&bytes), Some((value, len)));
        }
        let mut out = Vec::new();
        encode(u64::MAX, &mut out);
        assert_eq!(decode(&out), Some((MAX, 8)));
    }
}
