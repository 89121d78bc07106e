//! Strings (RFC 7541 section 5.2, RFC 9204 section 4.1.2).

use super::{CodingError, huffman, integer};
use crate::syntax::{IN_NAME, IN_VALUE, classes};
use alloc::vec::Vec;

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = classes(byte as u8);
        byte += 1;
    }
    table
};

/// The rest of a field section.
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

/// A string as it stands in a field section.
#[derive(Clone, Copy)]
pub(crate) struct Literal<'a> {
    bytes: &'a [u8],
    is_huffman: bool,
}

impl<'a> Rest<'a> {
    /// Takes an integer. Those that are too large for a `usize` are the largest one.
    #[inline(always)]
    pub(crate) fn integer(&mut self, prefix: u32) -> Result<usize, CodingError> {
        let (value, len) = integer::decode(self.0, prefix)?.ok_or(CodingError::Truncated)?;
        self.0 = &self.0[len..];
        Ok(usize::try_from(value).unwrap_or(usize::MAX))
    }

    /// Takes a string whose length has a prefix of so many bits, behind the bit that says whether it is a Huffman code.
    #[inline(always)]
    pub(crate) fn string(&mut self, prefix: u32) -> Result<Literal<'a>, CodingError> {
        let is_huffman = self.0.first().is_some_and(|first| first >> prefix & 1 == 1);
        let len = self.integer(prefix)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(CodingError::Truncated)?;
        self.0 = rest;
        Ok(Literal { bytes, is_huffman })
    }
}

impl Literal<'_> {
    /// Appends it, and returns the classes of its bytes.
    #[inline(always)]
    pub(crate) fn decode(self, out: &mut Vec<u8>) -> Result<u8, CodingError> {
        if self.is_huffman {
            return huffman::decode_classes(self.bytes, out);
        }
        out.extend_from_slice(self.bytes);
        let both = |all, &b: &u8| all & CLASSES[usize::from(b)];
        Ok(self.bytes.iter().fold(IN_NAME | IN_VALUE, both))
    }
}

/// The classes of a value, if it begins or ends with a blank.
#[inline(always)]
pub(crate) fn without_blanks(value: &[u8], classes: u8) -> u8 {
    match value {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => classes & !IN_VALUE,
        _ => classes,
    }
}

/// The classes of a name that is a literal, of which `classes` are those of its bytes.
#[inline(always)]
pub(crate) fn of_name(name: &[u8], is_pseudo: bool, classes: u8) -> u8 {
    match is_pseudo {
        true => IN_NAME,
        false if name.is_empty() => 0,
        false => classes & IN_NAME,
    }
}

/// Appends a string in the shorter form. Its length has a prefix of so many bits. `first` has the bits of the first byte
/// that are in front of the bit that says whether it is a Huffman code.
#[inline(always)]
pub(crate) fn encode(bytes: &[u8], prefix: u32, first: u8, out: &mut Vec<u8>) {
    // No code has less than five bits: two of them are no shorter than two bytes.
    let coded = match bytes {
        [] | [_] | [_, _] => bytes.len(),
        _ => huffman::encoded_len(bytes),
    };
    if coded < bytes.len() {
        integer::encode(coded as u64, prefix, first | 1 << prefix, out);
        huffman::encode(bytes, out);
    } else {
        integer::encode(bytes.len() as u64, prefix, first, out);
        out.extend_from_slice(bytes);
    }
}
