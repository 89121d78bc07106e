//! The Huffman code of HPACK and QPACK (RFC 7541 section 5.2 and appendix B).
//!
//! It is a canonical code: the codes of one length follow each other in the order of their symbols. So the
//! lengths are all there is to write down. A table with the first eight bits of a code decodes all symbols
//! that are frequent; longer codes are found by comparing with the first code of each length.

use super::CodingError;
use crate::syntax::{IN_NAME, IN_VALUE, classes};
use alloc::vec::Vec;

const EOS: usize = 256;
const SYMBOLS: usize = 257;
const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// Bits of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    // EOS
    30,
];

/// A row of codes of one length.
#[derive(Clone, Copy)]
struct Row {
    /// The first code of it, from the highest of 32 bits on.
    first: u32,
    /// One behind the last code, alike.
    end: u64,
    /// Where its symbols begin in [`ORDER`].
    at: u16,
}

struct Code {
    /// By symbol.
    codes: [u32; SYMBOLS],
    /// Symbols by code.
    order: [u16; SYMBOLS],
    /// By length.
    rows: [Row; LONGEST + 1],
}

const fn code() -> Code {
    let row = Row {
        first: 0,
        end: 0,
        at: 0,
    };
    let (mut codes, mut order, mut rows) = ([0; SYMBOLS], [0; SYMBOLS], [row; LONGEST + 1]);
    let (mut next, mut count, mut len) = (0u64, 0, SHORTEST);
    while len <= LONGEST {
        rows[len].first = (next << (32 - len)) as u32;
        rows[len].at = count as u16;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                codes[symbol] = next as u32;
                order[count] = symbol as u16;
                count += 1;
                next += 1;
            }
            symbol += 1;
        }
        rows[len].end = next << (32 - len);
        next <<= 1;
        len += 1;
    }
    Code { codes, order, rows }
}

static CODE: Code = code();

/// What the first eight bits of a code say.
#[derive(Clone, Copy)]
struct Short {
    symbol: u8,
    /// 0: the code is longer.
    len: u8,
    classes: u8,
}

const fn short() -> [Short; 256] {
    let code = code();
    let mut table = [Short {
        symbol: 0,
        len: 0,
        classes: 0,
    }; 256];
    let mut symbol = 0;
    while symbol < EOS {
        let len = LENGTHS[symbol];
        if len <= 8 {
            let first = (code.codes[symbol] as usize) << (8 - len);
            let mut i = 0;
            while i < 1 << (8 - len) {
                table[first + i] = Short {
                    symbol: symbol as u8,
                    len,
                    classes: classes(symbol as u8),
                };
                i += 1;
            }
        }
        symbol += 1;
    }
    table
}

static SHORT: [Short; 256] = short();

/// Symbols whose codes are longer than eight bits: the symbol and the length.
#[inline(never)]
fn long(bits: u64) -> (usize, u32) {
    let code = (bits >> 32) as u32;
    let mut len = 9;
    while len < LONGEST && u64::from(code) >= CODE.rows[len].end {
        len += 1;
    }
    let row = &CODE.rows[len];
    let index = (code - row.first) >> (32 - len);
    let symbol = CODE.order[usize::from(row.at) + index as usize];
    (usize::from(symbol), len as u32)
}

/// The code at the front of `bits`. [`EOS`] is a symbol here.
#[inline(always)]
fn symbol(bits: u64) -> (usize, u32, u8) {
    let short = SHORT[(bits >> 56) as usize];
    match short.len {
        0 => {
            let (symbol, len) = long(bits);
            (symbol, len, classes(symbol as u8))
        }
        len => (usize::from(short.symbol), u32::from(len), short.classes),
    }
}

/// Decodes `bytes` and appends the result. Returns which classes all of it is in.
///
/// # Errors
///
/// [`CodingError::Eos`] and [`CodingError::Padding`]. What has been appended means nothing then.
pub(crate) fn decode_classes(bytes: &[u8], out: &mut Vec<u8>) -> Result<u8, CodingError> {
    let start = out.len();
    out.resize(start + bytes.len() * 8 / SHORTEST, 0);
    let (mut at, mut all) = (start, IN_NAME | IN_VALUE);
    let (mut bits, mut count, mut rest) = (0u64, 0u32, bytes);
    loop {
        if let Some(eight) = rest.first_chunk::<8>() {
            // More than is counted gets in; the next time the same bits come to the same place.
            bits |= u64::from_be_bytes(*eight) >> count;
            let taken = (63 - count) / 8;
            rest = &rest[taken as usize..];
            count += taken * 8;
        } else {
            while let ([byte, behind @ ..], true) = (rest, count <= 56) {
                bits |= u64::from(*byte) << (56 - count);
                (rest, count) = (behind, count + 8);
            }
        }
        while count >= LONGEST as u32 {
            let (symbol, len, classes) = symbol(bits);
            if symbol == EOS {
                return Err(CodingError::Eos);
            }
            out[at] = symbol as u8;
            at += 1;
            all &= classes;
            bits <<= len;
            count -= len;
        }
        if rest.is_empty() {
            break;
        }
    }
    let (at, last) = decode_end(bits, count, &mut out[at..]).map(|(n, last)| (at + n, last))?;
    out.truncate(at);
    Ok(all & last)
}

/// The last bits, behind which ones are taken for padding. Returns how many symbols there were, and their
/// classes.
fn decode_end(mut bits: u64, mut count: u32, out: &mut [u8]) -> Result<(usize, u8), CodingError> {
    let (mut at, mut all) = (0, IN_NAME | IN_VALUE);
    loop {
        let padded = bits | u64::MAX >> count;
        let (symbol, len, classes) = symbol(padded);
        if len > count {
            return match count < 8 && padded == u64::MAX {
                true => Ok((at, all)),
                false => Err(CodingError::Padding),
            };
        }
        out[at] = symbol as u8;
        at += 1;
        all &= classes;
        bits <<= len;
        count -= len;
    }
}

/// Bytes that the code of `bytes` has.
#[inline]
pub(crate) fn encoded_len(bytes: &[u8]) -> usize {
    let bits = |sum: usize, &b: &u8| sum + usize::from(LENGTHS[usize::from(b)]);
    bytes.iter().fold(0, bits).div_ceil(8)
}

/// Appends the code of `bytes`, padded with ones.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u64, 0u32);
    for &byte in bytes {
        let len = u32::from(LENGTHS[usize::from(byte)]);
        bits = bits << len | u64::from(CODE.codes[usize::from(byte)]);
        count += len;
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        let ones = 0xff >> count;
        out.push((bits << (8 - count)) as u8 | ones);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::EVERY;
    use std::collections::HashMap;

    fn coded(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(bytes, &mut out);
        assert_eq!(out.len(), encoded_len(bytes));
        out
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, CodingError> {
        let mut out = b"before".to_vec();
        decode_classes(bytes, &mut out)?;
        Ok(out.split_off(6))
    }

    /// Some rows of RFC 7541 appendix B, the first and the last of a length among them.
    #[test]
    fn codes_of_the_appendix() {
        for (symbol, code, len) in [
            (b'0' as usize, 0x0, 5),
            (b't' as usize, 0x9, 5),
            (b' ' as usize, 0x14, 6),
            (b'u' as usize, 0x2d, 6),
            (b':' as usize, 0x5c, 7),
            (b'z' as usize, 0x7b, 7),
            (b'&' as usize, 0xf8, 8),
            (b'Z' as usize, 0xfd, 8),
            (b'!' as usize, 0x3f8, 10),
            (b'|' as usize, 0x7fc, 11),
            (0, 0x1ff8, 13),
            (b'{' as usize, 0x7ffe, 15),
            (b'\\' as usize, 0x7fff0, 19),
            (195, 0x7fff1, 19),
            (255, 0x3ff_ffee, 26),
            (249, 0xfff_fffe, 28),
            (22, 0x3fff_fffe, 30),
            (EOS, 0x3fff_ffff, 30),
        ] {
            assert_eq!(
                (CODE.codes[symbol], LENGTHS[symbol]),
                (code, len),
                "{symbol}"
            );
        }
        // Kraft: no bits are left over, so every row of bits is a row of codes.
        let sum = |sum: u64, len: &u8| sum + (1 << (LONGEST - usize::from(*len)));
        assert_eq!(LENGTHS.iter().fold(0, sum), 1 << LONGEST);
    }

    /// Each symbol alone and each pair of them, at all eight places of a byte.
    #[test]
    fn every_pair_of_symbols() {
        for pair in (0..=u16::MAX).step_by(EVERY) {
            let pair = pair.to_be_bytes();
            assert_eq!(decoded(&coded(&pair)).as_deref(), Ok(&pair[..]));
        }
        for symbol in 0..=255 {
            for shift in 0..8 {
                // Codes of five bits: they move what follows by a bit less than a byte each.
                let mut text = vec![b'0'; shift];
                text.push(symbol);
                assert_eq!(decoded(&coded(&text)).as_deref(), Ok(&text[..]));
                text.extend_from_slice(&[symbol; 9]);
                assert_eq!(decoded(&coded(&text)).as_deref(), Ok(&text[..]));
            }
        }
    }

    /// A decoder that looks at one bit after the other, with its codes by length.
    struct BitByBit(HashMap<(u32, u32), usize>);

    impl BitByBit {
        fn new() -> BitByBit {
            let key = |symbol| (u32::from(LENGTHS[symbol]), CODE.codes[symbol]);
            BitByBit((0..SYMBOLS).map(|symbol| (key(symbol), symbol)).collect())
        }

        fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, CodingError> {
            let (mut out, mut code, mut len) = (Vec::new(), 0u32, 0);
            for bit in bytes
                .iter()
                .flat_map(|b| (0..8).rev().map(move |i| b >> i & 1))
            {
                (code, len) = (code << 1 | u32::from(bit), len + 1);
                match self.0.get(&(len, code)) {
                    Some(&EOS) => return Err(CodingError::Eos),
                    Some(&symbol) => {
                        out.push(symbol as u8);
                        (code, len) = (0, 0);
                    }
                    None => {}
                }
            }
            match len < 8 && code == (1 << len) - 1 {
                true => Ok(out),
                false => Err(CodingError::Padding),
            }
        }
    }

    #[test]
    fn any_two_bytes_and_any_padding() {
        let slow = BitByBit::new();
        for row in (0..=u16::MAX).step_by(EVERY) {
            let [a, b] = row.to_be_bytes();
            assert_eq!(decoded(&[a, b]), slow.decode(&[a, b]), "{a:#x} {b:#x}");
            if row % 61 == 0 {
                let long = [0xff, 0xff, a, b, 0xff, a, 0xff, 0xff, 0xff, b, a];
                assert_eq!(decoded(&long), slow.decode(&long), "{a:#x} {b:#x}");
            }
        }
        assert_eq!(decoded(&[]).as_deref(), Ok(&[][..]));
        assert_eq!(decoded(&[0xff]), Err(CodingError::Padding));
        assert_eq!(decoded(&[0x07, 0xff]), Err(CodingError::Padding));
        assert_eq!(decoded(&[0xff; 4]), Err(CodingError::Eos));
    }

    #[test]
    fn classes_of_every_byte() {
        for byte in 0..=255u8 {
            let text = [b'a', byte];
            let found = decode_classes(&coded(&text), &mut Vec::new()).expect("a code");
            let name = byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(found & IN_NAME != 0, name, "{byte:#x}");
            let value = byte == b'\t' || byte >= b' ' && byte != 0x7f;
            assert_eq!(found & IN_VALUE != 0, value, "{byte:#x}");
        }
    }
}
