//! Decoder of field blocks (RFC 7541 section 3).

use super::table::{Dynamic, INDEX, ROWS, STATIC};
use super::{HpackError, Kind, MAX_TABLE, OVERHEAD};
use crate::field_section::literal::{self, Rest};
use crate::field_section::{Decode, DecodedField};
use crate::http::Version;
use crate::syntax::{IN_NAME, IN_VALUE};
use alloc::vec::Vec;

/// Decoding ends when the fields have so many times the bytes that they may have. Below, the block is
/// decoded to its end, so that the tables of both sides stay the same.
const FAR_TOO_LARGE: usize = 4;

/// Size updates that one block may begin with: the smallest maximum and the last one (RFC 7541 section 4.2).
const SIZE_UPDATES: u32 = 2;

/// The decoder of one connection.
#[derive(Debug)]
pub struct Decoder {
    table: Dynamic,
    /// What the other side may set the size to.
    most: usize,
    /// The maximum was lowered: the next block begins with a size update.
    update_due: bool,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// With the table size that both sides begin with.
    pub fn new() -> Decoder {
        Decoder {
            table: Dynamic::new(),
            most: MAX_TABLE,
            update_due: false,
        }
    }

    /// The other side has acknowledged a SETTINGS_HEADER_TABLE_SIZE of `most`; above [`MAX_TABLE`] it is that.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.min(MAX_TABLE);
        self.update_due = self.table.max() > self.most;
    }

    /// Bytes of memory that it takes beside its own.
    pub fn held(&self) -> usize {
        self.table.held()
    }

    /// Decodes a complete block. Each field is appended to `out`, name and value, and `take` is told of it.
    /// Returns the size of the list as RFC 9113 section 6.5.2 counts it. From `limit` on the fields are
    /// decoded only for the tables: `take` is not told of them.
    ///
    /// `take` may shorten `out` to the place where the field begins; it changes nothing before.
    ///
    /// # Errors
    ///
    /// After all of them the connection has to be closed.
    pub fn decode(
        &mut self,
        block: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
        mut take: impl FnMut(&mut Vec<u8>, DecodedField),
    ) -> Result<usize, HpackError> {
        let mut block = Rest(block);
        self.size_updates(&mut block)?;
        let mut size = 0usize;
        while let [first, ..] = *block.0 {
            let start = out.len();
            let field = match first {
                0x80.. => self.indexed(&mut block, size > limit, out)?,
                0x40.. => self.literal(&mut block, 6, out)?,
                0x20.. => return Err(HpackError::SizeUpdate),
                _ => self.literal(&mut block, 4, out)?,
            };
            size = size.saturating_add(field.end - field.start + OVERHEAD);
            match size > limit {
                false => take(out, field),
                true => out.truncate(start),
            }
            if size > limit.saturating_mul(FAR_TOO_LARGE) {
                return Err(HpackError::TooLarge);
            }
        }
        Ok(size)
    }

    /// RFC 7541 section 6.3.
    fn size_updates(&mut self, block: &mut Rest<'_>) -> Result<(), HpackError> {
        let mut count = 0;
        while let [0x20..0x40, ..] = block.0 {
            let max = block.integer(5)?;
            count += 1;
            if max > self.most || count > SIZE_UPDATES {
                return Err(HpackError::SizeUpdate);
            }
            self.table.set_max(max);
            self.update_due = false;
        }
        match self.update_due {
            true => Err(HpackError::SizeUpdateMissing),
            false => Ok(()),
        }
    }

    /// RFC 7541 section 6.1. Without a copy if it is only counted.
    #[inline(always)]
    fn indexed(
        &self,
        block: &mut Rest<'_>,
        is_counted: bool,
        out: &mut Vec<u8>,
    ) -> Result<DecodedField, HpackError> {
        let index = block.integer(7)?;
        let start = out.len();
        let (name, value, kind, is_valid) = match index.checked_sub(1) {
            Some(at) if at < STATIC => {
                let row = &ROWS[at];
                if !is_counted {
                    out.extend_from_slice(row.bytes());
                }
                let (name, both) = (row.name().len(), row.bytes().len());
                (name, both - name, INDEX.kinds[at], true)
            }
            Some(at) => {
                let entry = self.table.get(at - STATIC).ok_or(HpackError::Index)?;
                if !is_counted {
                    out.extend_from_slice(self.table.bytes_of(entry));
                }
                let (name, value) = (usize::from(entry.name), usize::from(entry.value));
                (name, value, entry.kind, entry.is_valid())
            }
            None => return Err(HpackError::Index),
        };
        Ok(DecodedField {
            start,
            value: start + name,
            end: start + name + value,
            kind,
            is_valid,
        })
    }

    /// RFC 7541 section 6.2. It is added to the table if its index has six bits.
    fn literal(
        &mut self,
        block: &mut Rest<'_>,
        prefix: u32,
        out: &mut Vec<u8>,
    ) -> Result<DecodedField, HpackError> {
        let index = block.integer(prefix)?;
        let start = out.len();
        let (kind, name_classes) = match index.checked_sub(1) {
            None => {
                let classes = block.string(7)?.decode(out)?;
                let name = &out[start..];
                let kind = Kind::of(name);
                (kind, literal::of_name(name, kind.is_pseudo(), classes))
            }
            Some(at) if at < STATIC => {
                out.extend_from_slice(ROWS[at].name());
                (INDEX.kinds[at], IN_NAME)
            }
            Some(at) => {
                let entry = self.table.get(at - STATIC).ok_or(HpackError::Index)?;
                let name = &self.table.bytes_of(entry)[..usize::from(entry.name)];
                out.extend_from_slice(name);
                (entry.kind, entry.classes & IN_NAME)
            }
        };
        let value = out.len();
        let classes = name_classes | block.string(7)?.decode(out)? & IN_VALUE;
        let classes = literal::without_blanks(&out[value..], classes);
        if prefix == 6 {
            let (name, value) = out[start..].split_at(value - start);
            self.table.insert(name, value, kind, classes);
        }
        Ok(DecodedField {
            start,
            value,
            end: out.len(),
            kind,
            is_valid: classes == IN_NAME | IN_VALUE,
        })
    }
}

impl Decode for Decoder {
    type Error = HpackError;
    const VERSION: Version = Version::Http2;
    // RFC 9113 section 8.3.1.
    const IS_HOST_EXACT: bool = false;

    #[inline(always)]
    fn decode(
        &mut self,
        section: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
        take: impl FnMut(&mut Vec<u8>, DecodedField),
    ) -> Result<usize, HpackError> {
        Decoder::decode(self, section, limit, out, take)
    }
}
