//! Encoder of field sections (RFC 9204 section 4.5).

use super::table::{Found, find};
use crate::field_section::name::{LONG_NAME, lower_case, never_indexed};
use crate::field_section::{integer, literal};
use crate::http::field_block;
use alloc::vec::Vec;

/// Bytes of a block that is remembered.
const REMEMBERED: usize = 1024;

/// The index of `:status`, which has other values behind it.
const STATUS: u64 = 24;

/// The index of `content-length`, with the value 0.
const CONTENT_LENGTH: u64 = 4;

/// A block of fields that may come again, and how it goes out.
#[derive(Debug, Default)]
struct Remembered {
    block: Vec<u8>,
    encoded: Vec<u8>,
}

/// An encoder. What it writes depends on no connection: one is enough for all connections of a thread.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The last two: what all responses have, and what this one has.
    remembered: [Remembered; 2],
    /// Which of them was the last.
    last: bool,
}

impl Encoder {
    /// A new one. It has no memory yet.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// Bytes of memory that it takes beside its own.
    pub fn held(&self) -> usize {
        let held = |one: &Remembered| one.block.capacity() + one.encoded.capacity();
        self.remembered.iter().map(held).sum()
    }

    /// What is remembered.
    #[cfg(test)]
    pub(super) fn remembered_blocks(&self) -> [&[u8]; 2] {
        [&self.remembered[0].block, &self.remembered[1].block]
    }

    /// Begins a field section: nothing of it needs a dynamic table (RFC 9204 section 4.5.1).
    #[inline]
    pub fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0, 0]);
    }

    /// Appends `:status`, of three digits.
    #[inline]
    pub fn status(&self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            103 => 24,
            200 => 25,
            304 => 26,
            404 => 27,
            503 => 28,
            100 => 63,
            204 => 64,
            206 => 65,
            302 => 66,
            400 => 67,
            403 => 68,
            421 => 69,
            425 => 70,
            500 => 71,
            _ => {
                let digit = |n: u16| b'0' + (n % 10) as u8;
                let digits = [digit(status / 100), digit(status / 10), digit(status)];
                integer::encode(STATUS, 4, 0x50, out);
                return string(&digits, out);
            }
        };
        integer::encode(index, 6, 0xc0, out);
    }

    /// Appends `content-length`.
    #[inline]
    pub fn content_length(&self, digits: &[u8], out: &mut Vec<u8>) {
        if digits == b"0" {
            return integer::encode(CONTENT_LENGTH, 6, 0xc0, out);
        }
        integer::encode(CONTENT_LENGTH, 4, 0x50, out);
        string(digits, out);
    }

    /// Appends the fields of a block. It is one copy if it is one of the last two, as the fields that all responses have and
    /// those of the same file are. Those that `is_left_out` says so of are not sent.
    #[inline]
    pub fn block(&mut self, block: &[u8], is_left_out: fn(&[u8]) -> bool, out: &mut Vec<u8>) {
        if block.is_empty() {
            return;
        }
        let other = !self.last;
        for at in [other, self.last] {
            let remembered = &self.remembered[usize::from(at)];
            if remembered.block == block {
                self.last = at;
                return out.extend_from_slice(&remembered.encoded);
            }
        }
        self.read_new(other, block, is_left_out, out);
    }

    /// A block that has not come lately.
    #[inline(never)]
    fn read_new(
        &mut self,
        at: bool,
        block: &[u8],
        is_left_out: fn(&[u8]) -> bool,
        out: &mut Vec<u8>,
    ) {
        let (start, mut is_fit) = (out.len(), block.len() <= REMEMBERED);
        for (name, value) in field_block::fields(block) {
            if !is_left_out(name) {
                // What no hop may keep is not kept here.
                is_fit &= !self.field(name, value, out);
            }
        }
        if !is_fit {
            return;
        }
        let remembered = &mut self.remembered[usize::from(at)];
        remembered.block.clear();
        remembered.block.extend_from_slice(block);
        remembered.encoded.clear();
        remembered.encoded.extend_from_slice(&out[start..]);
        self.last = at;
    }

    /// Appends a field. Case of the name does not matter: it is sent in lower case. True for a field that no hop may put
    /// into a table, which is sent as such (RFC 9204 section 4.5.4).
    #[inline]
    pub fn field(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> bool {
        let mut room = [0; LONG_NAME];
        let Some(lower) = lower_case(name, &mut room) else {
            long_name(name, value, out);
            return false;
        };
        let is_secret = matches!(lower, never_indexed!());
        let never = if is_secret { 0x20 } else { 0 };
        match find(lower, value) {
            Found::Field(at) if !is_secret => integer::encode(at as u64, 6, 0xc0, out),
            Found::Field(at) | Found::Name(at) => {
                integer::encode(at as u64, 4, 0x50 | never, out);
                string(value, out);
            }
            Found::Nothing => {
                literal::encode(lower, 3, 0x20 | never >> 1, out);
                string(value, out);
            }
        }
        is_secret
    }
}

/// A field whose name is longer than any that is known.
#[cold]
fn long_name(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    integer::encode(name.len() as u64, 3, 0x20, out);
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    string(value, out);
}

/// RFC 9204 section 4.1.2, with a prefix of seven bits.
#[inline]
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    literal::encode(bytes, 7, 0, out);
}
