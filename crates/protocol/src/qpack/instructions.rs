//! Instructions of encoder and decoder streams (RFC 9204 sections 4.3 and 4.4).
//!
//! Both dynamic tables have the capacity 0, so next to nothing may be said on either of them.

use crate::field_section::integer;

/// Bytes that an instruction may have: an integer of 63 bits.
const LONGEST: usize = 10;

/// Set Dynamic Table Capacity, to 0 (RFC 9204 section 4.3.1).
const NO_CAPACITY: u8 = 0x20;

/// An instruction that breaks the protocol: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadInstruction(
    /// What is wrong.
    pub &'static str,
);

/// Reads a piece of the encoder stream: what the client wants to have in our table. Returns how many instructions there
/// were: all of them set the capacity to 0.
///
/// # Errors
///
/// QPACK_ENCODER_STREAM_ERROR for a capacity above 0, and for entries, which are all larger than the table (RFC 9204
/// sections 3.2.2 and 4.3). The first byte tells them from what is allowed.
pub fn encoder_stream(bytes: &[u8]) -> Result<usize, BadInstruction> {
    match bytes.iter().find(|byte| **byte != NO_CAPACITY) {
        None => Ok(bytes.len()),
        Some(0x20..0x40) => Err(BadInstruction("a dynamic table larger than was allowed")),
        Some(_) => Err(BadInstruction("an entry larger than the dynamic table")),
    }
}

/// The decoder stream: what the client says about the use of its table, which we do not use.
#[derive(Clone, Copy, Debug, Default)]
pub struct DecoderStream {
    /// An instruction that is not complete.
    held: [u8; LONGEST],
    len: u8,
}

impl DecoderStream {
    /// A stream that begins.
    pub fn new() -> DecoderStream {
        DecoderStream::default()
    }

    /// Reads a piece. Returns how many instructions have become complete: all of them are cancellations of streams (RFC 9204
    /// section 4.4.2).
    ///
    /// # Errors
    ///
    /// QPACK_DECODER_STREAM_ERROR for acknowledgments of what was not sent (RFC 9204 sections 4.4.1 and 4.4.3), and for an
    /// integer that is too large.
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, BadInstruction> {
        let mut count = 0;
        for byte in bytes {
            match (self.len, byte) {
                (0, 0x80..) => return Err(BadInstruction("no section needs an acknowledgment")),
                (0, 0..0x40) => return Err(BadInstruction("no entries were inserted")),
                _ => {}
            }
            self.held[usize::from(self.len)] = *byte;
            self.len += 1;
            match integer::decode(&self.held[..usize::from(self.len)], 6) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    self.len = 0;
                    count += 1;
                }
                Err(_) => return Err(BadInstruction("an integer is too large")),
            }
        }
        Ok(count)
    }
}
