//! HPACK: header compression of HTTP/2 (RFC 7541).
//!
//! [`integer`] and [`huffman`] know nothing of HTTP/2: they are those of QPACK, too (RFC 9204 section 4.1). The tables of
//! both directions have at most [`MAX_TABLE`] bytes, and no memory before something is put into them.
//!
//! What is decoded is validated in the same pass: the Huffman code has the class of each symbol in its table,
//! and an entry of the dynamic table keeps whether it is valid. So an indexed field is a copy.

#[cfg(feature = "checks")]
#[doc(hidden)]
pub mod check;
mod decoder;
mod encoder;
pub mod huffman;
pub mod integer;
mod table;
#[cfg(test)]
mod tests;

pub use crate::field_section::name::Kind;
pub use crate::field_section::{DecodedField, OVERHEAD};
pub use decoder::Decoder;
pub use encoder::Encoder;

use crate::field_section::CodingError;

/// Bytes of a dynamic table, as RFC 7541 section 4.1 counts them. It is the default of
/// SETTINGS_HEADER_TABLE_SIZE (RFC 9113 section 6.5.2), and more is not offered and not used.
pub const MAX_TABLE: usize = 4096;

/// Why a block cannot be decoded. The tables of both sides are not the same any more: the connection ends
/// with COMPRESSION_ERROR (RFC 9113 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpackError {
    /// The block ends within a field.
    Truncated,
    /// An integer is longer than any that is needed.
    Integer,
    /// There is no entry of this index.
    Index,
    /// The padding of a Huffman code is longer than 7 bits, or is no prefix of EOS.
    Padding,
    /// A Huffman code has EOS in it.
    Eos,
    /// A size update is behind a field, is the third of its block, or is above the maximum (RFC 7541
    /// section 6.3).
    SizeUpdate,
    /// The maximum was lowered, and the block does not begin with a size update (RFC 7541 section 4.2).
    SizeUpdateMissing,
    /// The fields are far beyond the limit on a list of fields. It is no error of HPACK: decoding ended,
    /// so the tables are not the same any more.
    TooLarge,
}

impl core::fmt::Display for HpackError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            HpackError::Truncated => "the header block ends within a field",
            HpackError::Integer => "an integer is too large",
            HpackError::Index => "no such entry in the header tables",
            HpackError::Padding => "malformed padding of a Huffman code",
            HpackError::Eos => "EOS in a Huffman code",
            HpackError::SizeUpdate => "a table size update that is not allowed",
            HpackError::SizeUpdateMissing => "a table size update is missing",
            HpackError::TooLarge => "the header list is far too large",
        })
    }
}

impl core::error::Error for HpackError {}

impl From<CodingError> for HpackError {
    fn from(error: CodingError) -> HpackError {
        match error {
            CodingError::Truncated => HpackError::Truncated,
            CodingError::Integer => HpackError::Integer,
            CodingError::Padding => HpackError::Padding,
            CodingError::Eos => HpackError::Eos,
        }
    }
}
