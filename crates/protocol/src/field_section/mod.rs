//! Field sections of HTTP/2 and HTTP/3: what their encodings and their rules share.
//!
//! [`integer`], [`huffman`] and [`literal`] are the syntax that HPACK (RFC 7541) and QPACK (RFC 9204 section 4.1) have in
//! common. [`head`] makes the head of a request of decoded fields, and has the rules of RFC 9113 section 8 and RFC 9114
//! section 4, which differ in their numbers only.

#[cfg(any(test, feature = "checks"))]
pub(crate) mod check;
pub(crate) mod head;
pub(crate) mod huffman;
pub(crate) mod integer;
pub(crate) mod literal;
pub(crate) mod name;
pub(crate) mod static_table;

use crate::http::Version;
use alloc::vec::Vec;
use name::Kind;

/// What an entry of a table or a field of a list counts beside its bytes (RFC 7541 section 4.1, RFC 9113 section
/// 6.5.2, RFC 9114 section 4.2.2).
pub const OVERHEAD: usize = 32;

/// Where a field stands among the decoded bytes: its name, and its value behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodedField {
    /// Where the name begins.
    pub start: usize,
    /// Where the value begins.
    pub value: usize,
    /// Where the value ends.
    pub end: usize,
    /// What the name means.
    pub kind: Kind,
    /// Name and value are those of a field (RFC 9113 section 8.2.1, RFC 9114 section 4.2): the name is a token in lower
    /// case, or that of a pseudo-header field; the value has no control byte except HTAB and no blank at an end.
    pub is_valid: bool,
}

/// What is wrong with an integer or a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodingError {
    /// It is not complete.
    Truncated,
    /// An integer is longer than any that is needed.
    Integer,
    /// The padding of a Huffman code is longer than 7 bits, or is no prefix of EOS.
    Padding,
    /// A Huffman code has EOS in it.
    Eos,
}

/// Decodes encoded field sections.
pub(crate) trait Decode {
    /// Why one cannot be decoded.
    type Error;
    /// Of which version of HTTP they are.
    const VERSION: Version;
    /// `Host` beside `:authority` has to be the same text, and not only name the same host.
    const IS_HOST_EXACT: bool;

    /// Decodes a complete section. Each field is appended to `out`, name and value, and `take` is told of it. Returns the
    /// size of the list. From `limit` on `take` is not told of fields.
    ///
    /// `take` may shorten `out` to the place where the field begins; it changes nothing before.
    fn decode(
        &mut self,
        section: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
        take: impl FnMut(&mut Vec<u8>, DecodedField),
    ) -> Result<usize, Self::Error>;
}
