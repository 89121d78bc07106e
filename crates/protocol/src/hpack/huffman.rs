//! The Huffman code of HPACK and QPACK (RFC 7541 section 5.2 and appendix B).

use super::HpackError;
use crate::field_section::huffman;
use alloc::vec::Vec;

/// Decodes `bytes` and appends the result.
///
/// # Errors
///
/// [`HpackError::Eos`] and [`HpackError::Padding`]. What has been appended means nothing then.
pub fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    huffman::decode_classes(bytes, out)?;
    Ok(())
}

/// Bytes that the code of `bytes` has.
#[inline]
pub fn encoded_len(bytes: &[u8]) -> usize {
    huffman::encoded_len(bytes)
}

/// Appends the code of `bytes`, padded with ones.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    huffman::encode(bytes, out);
}
