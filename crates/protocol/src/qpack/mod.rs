//! QPACK: header compression of HTTP/3 (RFC 9204), with the static table alone.
//!
//! The dynamic tables of both directions have the capacity 0, which is what both sides begin with (RFC 9204 section
//! 3.2.3). So field sections can be decoded in any order, no stream waits for another one, and nothing is kept for a
//! connection. A client that refers to a dynamic table breaks the protocol.
//!
//! The Huffman code, integers and strings are those of HPACK. What is decoded is validated in the same pass.

#[cfg(feature = "checks")]
#[doc(hidden)]
pub mod check;
mod decoder;
mod encoder;
pub mod instructions;
mod table;
#[cfg(test)]
mod tests;

pub use crate::field_section::name::Kind;
pub use crate::field_section::{DecodedField, OVERHEAD};
pub use decoder::Decoder;
pub use encoder::Encoder;

use crate::field_section::CodingError;

/// Why a field section cannot be decoded: QPACK_DECOMPRESSION_FAILED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QpackError {
    /// The section ends within its prefix or a field.
    Truncated,
    /// An integer is longer than any that is needed. It is the only one that ends the stream and not the connection
    /// (RFC 9204 section 7.4).
    Integer,
    /// The static table has no entry of this index (RFC 9204 section 3.1).
    Index,
    /// The section needs a dynamic table, which there is none of (RFC 9204 sections 2.2.3 and 4.5.1).
    Dynamic,
    /// The padding of a Huffman code is longer than 7 bits, or is no prefix of EOS.
    Padding,
    /// A Huffman code has EOS in it.
    Eos,
}

impl core::fmt::Display for QpackError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            QpackError::Truncated => "the field section ends within a field",
            QpackError::Integer => "an integer is too large",
            QpackError::Index => "no such entry in the static table",
            QpackError::Dynamic => "the field section refers to a dynamic table",
            QpackError::Padding => "malformed padding of a Huffman code",
            QpackError::Eos => "EOS in a Huffman code",
        })
    }
}

impl core::error::Error for QpackError {}

impl From<CodingError> for QpackError {
    fn from(error: CodingError) -> QpackError {
        match error {
            CodingError::Truncated => QpackError::Truncated,
            CodingError::Integer => QpackError::Integer,
            CodingError::Padding => QpackError::Padding,
            CodingError::Eos => QpackError::Eos,
        }
    }
}
