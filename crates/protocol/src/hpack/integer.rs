//! Integers with a prefix (RFC 7541 section 5.1, RFC 9204 section 4.1.1).

use super::HpackError;
use crate::field_section::integer;
use alloc::vec::Vec;

/// The integer at the front of `bytes` whose first byte has `prefix` bits of it, and its length. `None`: it
/// is not complete.
///
/// # Errors
///
/// [`HpackError::Integer`] if it has more than ten bytes, zeros at its end included.
#[inline(always)]
pub fn decode(bytes: &[u8], prefix: u32) -> Result<Option<(u64, usize)>, HpackError> {
    Ok(integer::decode(bytes, prefix)?)
}

/// Appends an integer. `first` has the bits of the first byte that are not of the prefix.
#[inline]
pub fn encode(value: u64, prefix: u32, first: u8, out: &mut Vec<u8>) {
    integer::encode(value, prefix, first, out);
}
